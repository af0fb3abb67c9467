import { describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { BasicAuth, type Verdict } from "../../src/outputs/http/web-config/basic-auth.ts";
import { type Compare, compareInThread } from "../../src/outputs/http/web-config/bcrypt-thread.ts";

const encode = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

/** Compares by equality; says what it was asked, and answers when told. */
class FakeCompare {
  readonly asked: string[] = [];
  readonly #waiting: (() => void)[] = [];
  #holds = false;

  readonly compare: Compare = async (password, hash) => {
    this.asked.push(`${password} ${hash}`);
    if (this.#holds) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return hash === `hash of ${password}`;
  };

  hold(): void {
    this.#holds = true;
  }

  release(): void {
    this.#holds = false;
    for (const go of this.#waiting.splice(0)) go();
  }
}

describe("BasicAuth", () => {
  const users = { alice: "hash of secret", bob: "hash of 1234" };
  const fixture = () => {
    const fake = new FakeCompare();
    const auth = new BasicAuth(fake.compare);
    const ask = (credentials: string, among: Readonly<Record<string, string>> = users): Promise<Verdict> =>
      auth.verdict(encode(credentials), among);
    return { fake, auth, ask };
  };

  it("compares a password once and keeps the result, until the hash is another", async () => {
    const { fake, ask } = fixture();
    expect([await ask("alice:secret"), await ask("alice:secret")]).toEqual(["right", "right"]);
    expect([await ask("alice:wrong"), await ask("alice:wrong")]).toEqual(["wrong", "wrong"]);
    expect(fake.asked).toEqual(["secret hash of secret", "wrong hash of secret"]);
    expect(await ask("alice:secret", { alice: "hash of changed" })).toBe("wrong");
    expect(fake.asked).toHaveLength(3);
  });

  it("compares an unknown user with a known one's hash, always the same, and never lets him in", async () => {
    const { fake, ask } = fixture();
    for (let index = 0; index < 20; index++) {
      expect(await ask(`eve${index}:secret`)).toBe("wrong");
      expect(await ask(`eve${index}:1234`)).toBe("wrong");
    }
    const compared = Object.values(Object.groupBy(fake.asked, (line) => line.slice(line.indexOf(" "))));
    expect(fake.asked).toHaveLength(40); // one of each, as for a known user
    expect(compared).toHaveLength(2); // and over all users' hashes, so that all of their costs occur
    expect(await ask("eve0:secret")).toBe("wrong");
    expect(fake.asked).toHaveLength(40);
  });

  it("knows no users from the prototype of objects", async () => {
    const { ask } = fixture();
    for (const name of ["toString", "__proto__", "constructor", ""]) expect(await ask(`${name}:x`)).toBe("wrong");
  });

  it("lets whoever asks the same at the same time wait for one comparison", async () => {
    const { fake, ask } = fixture();
    fake.hold();
    const answers = [ask("alice:secret"), ask("alice:secret"), ask("alice:secret")];
    fake.release();
    expect(await Promise.all(answers)).toEqual(["right", "right", "right"]);
    expect(fake.asked).toHaveLength(1);
  });

  it("is busy when 100 passwords wait, but not for one that it has compared before", async () => {
    const { fake, ask } = fixture();
    expect(await ask("alice:secret")).toBe("right");
    fake.hold();
    const flood = Array.from({ length: 100 }, (_, index) => ask(`alice:guess ${index}`));
    expect(await ask("alice:one more")).toBe("busy");
    expect(await ask("alice:secret")).toBe("right");
    fake.release();
    expect(new Set(await Promise.all(flood))).toEqual(new Set(["wrong"]));
    expect(await ask("alice:one more")).toBe("wrong");
  });

  it("keeps the right password's result through a flood of wrong ones", async () => {
    const { fake, ask } = fixture();
    await ask("alice:secret");
    for (let index = 0; index < 300; index++) await ask(`alice:guess ${index}`);
    fake.asked.length = 0;
    expect(await ask("alice:secret")).toBe("right");
    expect(fake.asked).toEqual([]);
    await ask("alice:guess 0"); // forgotten, so that results do not pile up
    expect(fake.asked).toHaveLength(1);
  });

  it("compares again after a comparison that failed", async () => {
    let fails = true;
    const auth = new BasicAuth(() => (fails ? Promise.reject(new Error("no thread")) : Promise.resolve(true)));
    await expect(auth.verdict(encode("alice:secret"), users)).rejects.toThrow("no thread");
    fails = false;
    expect(await auth.verdict(encode("alice:secret"), users)).toBe("right");
  });

  it.each([
    [undefined],
    [""],
    ["Basic"],
    ["Basic "],
    ["Bearer YWxpY2U6c2VjcmV0"],
    [`Basic  ${Buffer.from("alice:secret").toString("base64")}`],
    [`Basic ${Buffer.from("alice:secret!").toString("base64").replace(/=+$/, "")}`],
    [`Basic ${Buffer.from("alice:secret").toString("base64")}=`],
    [`Basic ${Buffer.from("alice").toString("base64")}`],
    [`Basic ${Buffer.from("alice:\xfc", "latin1").toString("base64")}`],
    ["Basic !!!!"],
  ])("takes %j for no credentials, without comparing anything", async (header) => {
    const { fake, auth } = fixture();
    expect(await auth.verdict(header, users)).toBe("wrong");
    expect(fake.asked).toEqual([]);
  });

  it("splits at the first colon, and takes empty and UTF-8 passwords", async () => {
    const { fake, ask } = fixture();
    for (const credentials of ["alice:a:b", "alice:", "alice:pässwörd"]) await ask(credentials);
    expect(fake.asked).toEqual(["a:b hash of secret", " hash of secret", "pässwörd hash of secret"]);
  });
});

describe("the bcrypt thread", () => {
  const compare = compareInThread();

  it("knows $2a$, $2b$ and $2y$", async () => {
    const hash = hashSync("secret", 4);
    for (const version of ["$2a$", "$2b$", "$2y$"]) {
      expect(await compare("secret", hash.replace("$2b$", version))).toBe(true);
      expect(await compare("Secret", hash.replace("$2b$", version))).toBe(false);
    }
  });

  it("agrees with libxcrypt, on UTF-8 and on 72 bytes of a password being all of it", async () => {
    expect(await compare("pässwörd", "$2y$04$abcdefghijklmnopqrstuuyx2n0Zzopyr9QuYTMCfOJJOj526QVoC")).toBe(true);
    const hash = "$2b$04$abcdefghijklmnopqrstuuAg/vhymG.zjfOvPuw7BgQPjbFV1.SQW";
    expect(await compare(`${"ä".repeat(36)} and more`, hash)).toBe(true);
    expect(await compare("ä".repeat(35), hash)).toBe(false);
  });

  it("compares one password at a time, in the order asked, while the event loop goes on", async () => {
    const slow = hashSync("x", 4).replace("$04$", "$12$"); // 256 times the work; that it does not match changes nothing
    const ended: string[] = [];
    const startedAt = performance.now();
    const first = compare("secret", slow).then(() => ended.push("slow"));
    const second = compare("secret", hashSync("secret", 4)).then(() => ended.push("fast"));
    let longestTurnMs = 0;
    while (!ended.includes("slow")) {
      const before = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 2));
      longestTurnMs = Math.max(longestTurnMs, performance.now() - before);
    }
    const wholeMs = performance.now() - startedAt;
    await Promise.all([first, second]);
    expect(ended).toEqual(["slow", "fast"]);
    expect(longestTurnMs).toBeLessThan(wholeMs / 2); // on the event loop it would have been one turn
  }, 20_000);
});
