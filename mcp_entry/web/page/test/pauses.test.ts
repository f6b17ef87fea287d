import assert from "node:assert/strict";
import { test } from "node:test";

import { pauseMs } from "../src/pauses.ts";

test("what cannot be read is read again after pauses that grow up to half a minute", () => {
  assert.deepEqual([1, 2, 3, 6, 100].map(pauseMs), [1_000, 2_000, 4_000, 30_000, 30_000]);
});
