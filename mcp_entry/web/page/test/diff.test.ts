import assert from "node:assert/strict";
import { test } from "node:test";

import { parsePatch } from "../src/diff.ts";

const CHANGED = `diff --git a/src/cart.py b/src/cart.py
index 1111111..2222222 100644
--- a/src/cart.py
+++ b/src/cart.py
@@ -1,3 +1,4 @@ class Cart:
 import json
-import os
+import pathlib
+import sys
 
@@ -10 +11 @@ def add(self):
--- not a header
+++ not a header either
\\ No newline at end of file
`;

test("lines have their numbers before and after", () => {
  const [file] = parsePatch(CHANGED);
  assert.equal(file?.path, "src/cart.py");
  assert.deepEqual(
    file?.hunks[0]?.lines.map(({ kind, before, after, text }) => [kind, before, after, text]),
    [
      ["same", 1, 1, "import json"],
      ["deleted", 2, null, "import os"],
      ["added", null, 2, "import pathlib"],
      ["added", null, 3, "import sys"],
      ["same", 3, 4, ""],
    ],
  );
  assert.equal(file?.hunks[0]?.heading, "class Cart:");
});

test("a line that looks like a header is a line of its hunk", () => {
  const [file] = parsePatch(CHANGED);
  assert.deepEqual(
    file?.hunks[1]?.lines.map((line) => [line.kind, line.text]),
    [
      ["deleted", "-- not a header"],
      ["added", "++ not a header either"],
      ["note", "No newline at end of file"],
    ],
  );
  assert.deepEqual([file?.added, file?.deleted], [3, 2]);
});

test("new, deleted and binary files are told", () => {
  const files = parsePatch(`diff --git a/new.txt b/new.txt
new file mode 100644
index 0000000..1
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+hello
diff --git a/old.txt b/old.txt
deleted file mode 100644
index 1..0000000
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-hello
diff --git a/logo.png b/logo.png
index 1..2 100644
Binary files a/logo.png and b/logo.png differ
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
`);
  assert.deepEqual(
    files.map(({ path, change, binary }) => [path, change, binary]),
    [
      ["new.txt", "new", false],
      ["old.txt", "deleted", false],
      ["logo.png", "changed", true],
      ["run.sh", "mode", false],
    ],
  );
});

test("names that git quotes are read, also with spaces", () => {
  const files = parsePatch(`diff --git "a/gr\\303\\274n \\"x\\".txt" "b/gr\\303\\274n \\"x\\".txt"
index 1..2 100644
--- "a/gr\\303\\274n \\"x\\".txt"
+++ "b/gr\\303\\274n \\"x\\".txt"
@@ -1 +1 @@
-a
+b
diff --git a/two words.txt b/two words.txt
old mode 100644
new mode 100755
`);
  assert.deepEqual(
    files.map((file) => file.path),
    ['grün "x".txt', "two words.txt"],
  );
});

test("a patch that was cut in a hunk does not swallow what follows", () => {
  const files = parsePatch("diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,9 +1,9 @@\n one\n-tw");
  assert.equal(files[0]?.hunks[0]?.lines.length, 2);
  const two = parsePatch("diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,9 +1,9 @@\n one\ndiff --git a/b b/b\n");
  assert.deepEqual(
    two.map((file) => file.path),
    ["a", "b"],
  );
});

test("empty lines without their space, as git prints them with diff.suppressBlankEmpty, are lines like others", () => {
  const [file] = parsePatch(`diff --git a/f b/f
index 1..2 100644
--- a/f
+++ b/f
@@ -1,3 +1,3 @@
 a

-b
+B
@@ -20,3 +20,3 @@ below

-c
+C

`);
  assert.deepEqual(
    file?.hunks.map((hunk) => hunk.lines.map(({ kind, text, before, after }) => [kind, text, before, after])),
    [
      [
        ["same", "a", 1, 1],
        ["same", "", 2, 2],
        ["deleted", "b", 3, null],
        ["added", "B", null, 3],
      ],
      [
        ["same", "", 20, 20],
        ["deleted", "c", 21, null],
        ["added", "C", null, 21],
        ["same", "", 22, 22],
      ],
    ],
  );
});

test("nothing is nothing", () => {
  assert.deepEqual(parsePatch(""), []);
});
