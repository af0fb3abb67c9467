/** Counts which branches of a source ran: TypeScript's own compiler puts a counter at the head of each. */
import ts from "typescript";

/** What the instrumented code counts in; one byte per branch, of a size that the branches of the sources fit into. */
export const BRANCHES = 1 << 16;

/** The name under which instrumented code finds the counters. */
export const COUNTERS = "__fuzzBranches";

export interface Instrumented {
  /** JavaScript. */
  readonly code: string;
  /** The number of the first branch that is not in it. */
  readonly nextBranch: number;
  /** Texts that the source compares with: good material for inputs. */
  readonly words: readonly string[];
}

const { factory } = ts;
const BRANCHING = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

/** Types are stripped, statements stay as they are. Branches are numbered from `firstBranch` on. */
export function instrument(source: string, firstBranch: number): Instrumented {
  let branch = firstBranch;
  const words = new Set<string>();
  const count = (): ts.Expression =>
    factory.createPostfixIncrement(
      factory.createElementAccessExpression(factory.createIdentifier(COUNTERS), branch++ % BRANCHES),
    );
  const counted = (expression: ts.Expression): ts.Expression =>
    factory.createParenthesizedExpression(factory.createComma(count(), expression));
  const statement = (): ts.Statement => factory.createExpressionStatement(count());
  const asBlock = (body: ts.Statement): ts.Block =>
    ts.isBlock(body) ? body : factory.createBlock([statement(), body], true);

  const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => {
    const visit = (node: ts.Node): ts.Node => {
      if (ts.isStringLiteral(node) && node.text !== "" && node.text.length <= 40) words.add(node.text);
      const visited = ts.visitEachChild(node, visit, context);
      if (ts.isBlock(visited)) return factory.updateBlock(visited, [statement(), ...visited.statements]);
      if (ts.isIfStatement(visited))
        return factory.updateIfStatement(
          visited,
          visited.expression,
          asBlock(visited.thenStatement),
          visited.elseStatement && asBlock(visited.elseStatement),
        );
      if (ts.isIterationStatement(visited, false)) return countedLoop(visited, asBlock);
      if (ts.isCaseClause(visited))
        return factory.updateCaseClause(visited, visited.expression, [statement(), ...visited.statements]);
      if (ts.isConditionalExpression(visited))
        return factory.updateConditionalExpression(
          visited,
          visited.condition,
          visited.questionToken,
          counted(visited.whenTrue),
          visited.colonToken,
          counted(visited.whenFalse),
        );
      if (ts.isBinaryExpression(visited) && BRANCHING.has(visited.operatorToken.kind))
        return factory.updateBinaryExpression(visited, visited.left, visited.operatorToken, counted(visited.right));
      if (ts.isArrowFunction(visited) && !ts.isBlock(visited.body)) return countedArrow(visited, counted);
      return visited;
    };
    return (file) => ts.visitEachChild(file, visit, context);
  };
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    transformers: { before: [transformer] },
  });
  return { code: outputText, nextBranch: branch, words: [...words] };
}

function countedLoop(loop: ts.IterationStatement, asBlock: (body: ts.Statement) => ts.Block): ts.Node {
  const body = asBlock(loop.statement);
  if (ts.isForStatement(loop))
    return factory.updateForStatement(loop, loop.initializer, loop.condition, loop.incrementor, body);
  if (ts.isForOfStatement(loop))
    return factory.updateForOfStatement(loop, loop.awaitModifier, loop.initializer, loop.expression, body);
  if (ts.isForInStatement(loop)) return factory.updateForInStatement(loop, loop.initializer, loop.expression, body);
  return ts.isWhileStatement(loop) ? factory.updateWhileStatement(loop, loop.expression, body) : loop;
}

function countedArrow(arrow: ts.ArrowFunction, counted: (expression: ts.Expression) => ts.Expression): ts.Node {
  return factory.updateArrowFunction(
    arrow,
    arrow.modifiers,
    arrow.typeParameters,
    arrow.parameters,
    arrow.type,
    arrow.equalsGreaterThanToken,
    counted(arrow.body as ts.Expression),
  );
}
