/** What the YAML library says is wrong, without what it repeats of the file: that may be a password with a stray character. */
export function syntaxProblem(message: string): string {
  return message.split("\n", 1)[0]?.replace(/: .*$/s, "") ?? "";
}
