/**
 * What tests import as `vitest`, with vitest's own `expect`: collects the tests of a file, and runs
 * those that are wanted in the order of the file. A tenth of vitest's time for a file, and several
 * files share a process.
 */
import * as chaiExpect from '@vitest/expect';
import * as spies from '@vitest/spy';

class Skip extends Error {}

/** The tests of a file: a number each, in the order in which they stand there. */
export class Collection {
  constructor() {
    this.tests = [];
    this.root = this.suite = newSuite(null, '', false);
  }

  add(name, run, isSkipped) {
    const { suite, tests } = this;
    const test = { id: tests.length, name, run, suite, isSkipped: isSkipped || suite.isSkipped };
    tests.push(test);
    suite.children.push(test);
  }

  addSuite(name, collect, isSkipped) {
    const suite = newSuite(this.suite, name, isSkipped || this.suite.isSkipped);
    suite.parent.children.push(suite);
    this.suite = suite;
    try {
      collect?.();
    } finally {
      this.suite = suite.parent;
    }
  }

  /** Runs what is wanted: the tests that failed, `{ id, name, error }`; `ended` hears of each. */
  async run(isWanted, { bail, ended }) {
    const failed = [];
    const attempt = async (owner, work) => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Skip)) failed.push({ id: owner.id, name: owner.name, error });
      }
    };
    const runs = (node) =>
      node.children === undefined ? !node.isSkipped && isWanted(node.id) : node.children.some(runs);
    const visit = async (node) => {
      if (!runs(node) || (bail && failed.length > 0)) return;
      if (node.children === undefined) return this.runTest(node, attempt, ended);
      const known = failed.length;
      const clean = [...node.afterAll];
      await attempt(node, async () => {
        for (const hook of node.beforeAll) {
          const undo = await hook();
          if (typeof undo === 'function') clean.push(undo);
        }
      });
      ended(node, 0);
      if (failed.length === known) for (const child of node.children) await visit(child);
      for (const hook of clean.reverse()) await attempt(node, hook);
    };
    await visit(this.root);
    return failed;
  }

  async runTest(test, attempt, ended) {
    const started = performance.now();
    const clean = [];
    const context = {
      task: { name: test.name },
      skip() {
        throw new Skip();
      },
      onTestFinished: (hook) => clean.push(hook),
    };
    await attempt(test, async () => {
      for (const hook of hooksOf(test.suite, 'beforeEach')) {
        const undo = await hook(context);
        if (typeof undo === 'function') clean.push(undo);
      }
      await test.run(context);
    });
    for (const hook of [...hooksOf(test.suite, 'afterEach'), ...clean.reverse()])
      await attempt(test, () => hook(context));
    ended(test, performance.now() - started);
  }
}

const newSuite = (parent, name, isSkipped) => ({
  parent,
  name,
  isSkipped,
  children: [],
  beforeAll: [],
  afterAll: [],
  beforeEach: [],
  afterEach: [],
});

/** From the outermost suite to this one. */
function hooksOf(suite, kind) {
  return suite === null ? [] : [...hooksOf(suite.parent, kind), ...suite[kind]];
}

/** The module `vitest`, whose tests go to the collection that `current` answers. */
export function standIn(current) {
  const bodyOf = (a, b) => (typeof a === 'function' ? a : b);
  const family = (add, isSkipped) => {
    const one = (name, a, b) => add(name, bodyOf(a, b), isSkipped);
    one.skip = (name, a, b) => add(name, bodyOf(a, b), true);
    one.todo = one.skip;
    one.concurrent = one.sequential = one.only = one;
    one.skipIf = (condition) => family(add, isSkipped || Boolean(condition));
    one.runIf = (condition) => family(add, isSkipped || !condition);
    one.each = (rows) => (name, a, b) => {
      for (const row of rows)
        add(name, () => bodyOf(a, b)(...(Array.isArray(row) ? row : [row])), isSkipped);
    };
    one.for = (rows) => (name, a, b) => {
      for (const row of rows) add(name, (context) => bodyOf(a, b)(row, context), isSkipped);
    };
    return one;
  };
  const test = family((...one) => current().add(...one), false);
  const describe = family((...one) => current().addSuite(...one), false);
  const hook = (kind) => (run) => current().suite[kind].push(run);
  return {
    test,
    it: test,
    describe,
    suite: describe,
    expect: makeExpect(),
    vi: spies,
    beforeAll: hook('beforeAll'),
    afterAll: hook('afterAll'),
    beforeEach: hook('beforeEach'),
    afterEach: hook('afterEach'),
  };
}

function makeExpect() {
  const { chai } = chaiExpect;
  chai.use(chaiExpect.JestExtend);
  chai.use(chaiExpect.JestChaiExpect);
  chai.use(chaiExpect.JestAsymmetricMatchers);
  const expect = (value, message) => chai.expect(value, message);
  Object.assign(expect, chai.expect, globalThis[chaiExpect.ASYMMETRIC_MATCHERS_OBJECT], {
    getState: () => chaiExpect.getState(expect),
    setState: (state) => chaiExpect.setState(state, expect),
    extend: (matchers) => chai.expect.extend(expect, matchers),
    soft: expect,
    poll,
  });
  chaiExpect.setState({ assertionCalls: 0, isExpectingAssertions: false }, expect);
  expect.extend(chaiExpect.customMatchers);
  Object.defineProperty(globalThis, chaiExpect.GLOBAL_EXPECT, { value: expect });

  function poll(look, { interval = 20, timeout = 10_000 } = {}) {
    const matchers = (isNegated) =>
      new Proxy(
        {},
        {
          get: (_, matcher) => {
            if (matcher === 'not') return matchers(!isNegated);
            return async (...values) => {
              for (const end = Date.now() + timeout; ; ) {
                try {
                  const seen = expect(await look());
                  return (isNegated ? seen.not : seen)[matcher](...values);
                } catch (error) {
                  if (Date.now() > end) throw error;
                }
                await new Promise((wake) => setTimeout(wake, interval));
              }
            };
          },
        },
      );
    return matchers(false);
  }
  return expect;
}
