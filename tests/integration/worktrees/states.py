"""States in which an agent may leave its worktree: scripts of bash that run there (``Place.leave``)."""

from __future__ import annotations

NOTEBOOK = b'{"source": "1 + 1"}\n{"output": "2"}\n'
PRELUDE = r"""
set -eu
git() { command git -c protocol.file.allow=always -c gc.auto=0 -c maintenance.auto=false "$@"; }
configure() { git -C "$REPO" config "$@"; }
seems_clean() { [ -z "$(git status --porcelain)" ]; }
commit() { mkdir -p "$(dirname "$1")"; echo "${2-text}" > "$1"; git add --force -- "$1"; git commit -qm "Add $1"; }
commit_all() { git add --all; git commit -qm 'All of it'; seems_clean; }
notebook() { printf '{"source": "1 + 1"}\n{"output": "2"}\n' > "$1"; }
strip_notebooks() {
    configure filter.strip.clean 'sed /output/d'; configure filter.strip.smudge cat
    configure filter.strip.required true
    echo '*.ipynb filter=strip' > .gitattributes
}
merge_into_main() { git -C "$REPO" merge -q phalanx/spec_1; }
"""
_STAGE = "echo 'x = 2' > src/code.py; echo new > 'staged only here'; git add --all; "
STATES = {
    "modified": "echo 'x = 2' > src/code.py",
    "staged": _STAGE,
    "staged, then modified again": _STAGE + "echo 'x = 3' > src/code.py",
    "staged, then taken back": _STAGE + "echo 'x = 1' > src/code.py; rm 'staged only here'",
    "a file that is announced": "echo 'not staged yet' > soon; git add --intent-to-add soon",
    "untracked": """
        configure status.showUntrackedFiles no
        mkdir -p a/b 'empty directory'; printf 'an idea' > a/b/notes.txt; touch 'empty file'""",
    "ignored": r"""
        printf '.env\nbuild/\n*.log\n' > "$REPO/.git/info/exclude"
        printf 'KEY=1' > .env; printf 'it ran' > src/run.log
        mkdir -p build/deep/down; ln -s deep build/link
        for byte in {0..255}; do printf "\\x$(printf %x "$byte")"; done > build/deep/down/result""",
    "deleted": "rm src/code.py",
    "renamed": "git mv src/code.py src/program.py",
    "executable": "chmod 755 src/code.py; echo '#!/bin/sh' > run; chmod 700 run",
    "links": r"""
        ln -s '/nowhere/at all' dangling; ln -s src 'to directory'; ln -s $'odd\n\xff target' 'odd target'
        rm src/code.py; ln -s ../dangling src/code.py""",
    "a directory in place of a file": "rm src/code.py; mkdir src/code.py; printf 1 > src/code.py/part",
    "a file in place of a directory": "rm -r src; printf 1 > src",
    "a link in place of a directory": """
        mkdir "$BASE/outside"; echo "somebody else's" > "$BASE/outside/code.py"
        rm -r src; ln -s "$BASE/outside" src""",
    "odd names": r"""
        for name in $'new\nline' $'\xff\xfe' 'quo"te' -rf ' ' $'tab\t' 'back\slash' ':(top)*' $'\e[0m' '#' \
            $'\xc3\xbc' $'u\xcc\x88'; do printf %s "$name" > "./$name"; done""",
    "assumed unchanged": "git update-index --assume-unchanged src/code.py; echo 'x = 2' > src/code.py",
    "skipped": "git update-index --skip-worktree src/code.py; echo 'x = 2' > src/code.py",
    "changed at the same time, of the same length": """
        configure core.trustctime false; configure core.checkStat minimal
        touch -d @1 src/code.py; git update-index --refresh
        second=$(date +%s); while [ "$(date +%s)" = "$second" ]; do sleep 0.01; done  # git notes whole seconds
        echo 'y = 1' > src/code.py; touch -d @1 src/code.py; seems_clean""",
    "lines that end in two ways": r"""
        configure core.autocrlf true; printf 'a\r\nb\nc\r' > src/code.py; printf 'a\r\nb\n' > new""",
    "a lossy filter": r"""
        configure filter.lossy.clean 'echo nothing left'
        printf '*.txt filter=lossy\nutf ident working-tree-encoding=UTF-16\n' > .gitattributes
        printf 'all of it' > a.txt; printf '$Id: mine $' > utf""",
    "committed through a filter that strips": r"""
        strip_notebooks; echo '{"source": "1"}' > plain.ipynb; notebook $'odd\n\xff name.ipynb'; commit_all""",
    "staged through a filter that strips": "strip_notebooks; notebook a.ipynb; git add --all",
    "a notebook that was run after it was committed": """
        strip_notebooks; echo '{"source": "1 + 1"}' > a.ipynb; commit_all; merge_into_main
        notebook a.ipynb; git add --update; seems_clean""",
    "a filter that keeps the length": """
        configure filter.secret.clean 'tr 0-9 x'; echo '*.key filter=secret' > .gitattributes
        echo 1234 > a.key; commit_all""",
    "a filter whose program is gone": """
        configure filter.packed.clean 'gzip --no-name --stdout'; configure filter.packed.smudge /no/such/program
        configure filter.packed.required true; echo '*.big filter=packed' > .gitattributes
        for number in {1..1000}; do echo large; done > a.big; commit_all""",
    "committed lines that end in two ways": r"""
        printf '*.txt text=auto\n*.bat eol=crlf\n' > .gitattributes
        for name in mixed.txt mixed.bat; do printf 'a\r\nb\nc\r' > $name; done; commit_all""",
    "lines under autocrlf": r"configure core.autocrlf input; printf 'a\r\nb\n' > mixed; commit_all",
    "a keyword": "echo '*.c ident' > .gitattributes; echo '$Id: what I wrote there $' > a.c; commit_all",
    "an encoding": r"""
        echo '*.utf working-tree-encoding=UTF-16' > .gitattributes
        printf '\xfe\xff\0h\0\xe9\0\n' > big.utf; commit_all""",
    "attributes that are elsewhere": """
        strip_notebooks; mv .gitattributes "$BASE/attributes"
        git config --global core.attributesFile "$BASE/attributes"; notebook a.ipynb; commit_all""",
    "a mode that git does not look at": "configure core.fileMode false; chmod 755 src/code.py; seems_clean",
    "names that differ in case only": "configure core.ignoreCase true; echo 'another file' > src/CODE.py; seems_clean",
    "pipes and sockets": """
        echo 'x = 2' > src/code.py; mkfifo pipe
        "$PYTHON" -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'""",
    "ignored by the user's own rules": """
        echo '*.mine' > "$BASE/ignored"; git config --global core.excludesFile "$BASE/ignored"
        printf 'an idea' > notes.mine""",
    "a split index": "git update-index --split-index; " + _STAGE + "echo 'x = 3' > src/code.py",
    "a lock": """touch "$REPO/.git/worktrees/spec_1/index.lock"; echo 'x = 2' > src/code.py""",
    "committed": "commit new.py",
    "committed on no branch": "git checkout -q --detach; commit new.py",
    "committed and modified": "commit new.py; echo 'x = 2' > src/code.py",
}
"""Of each something is in the worktree alone, and a commit can hold it."""
CONVERTED_BACK = r"""
    configure filter.packed.clean 'gzip --no-name --stdout'; configure filter.packed.smudge 'gzip -d --stdout'
    printf '*.bat eol=crlf\n*.utf working-tree-encoding=UTF-16LE-BOM\n' > .gitattributes
    printf '*.big filter=packed\n*.c ident\n*.txt text=auto\n' >> .gitattributes
    printf 'a\r\nb\r\n' > a.bat; printf '\xff\xfeh\0\xe9\0\n\0' > a.utf; printf 'a\nb\n' > a.txt
    for number in {1..1000}; do echo large; done > a.big
    echo '$Id: 055c8729cdcc372500a08db659c045e16c4409fb $' > a.c
    commit_all; merge_into_main
"""
COMMITS_HINDERED = r"""
    mkdir -p "$REPO/.git/hooks"
    for name in pre-commit commit-msg reference-transaction post-index-change post-checkout; do
        printf '#!/bin/sh\ntouch %s/hook-ran\nexit 1\n' "$BASE" > "$REPO/.git/hooks/$name"
        chmod 755 "$REPO/.git/hooks/$name"
    done
    git config --global commit.gpgSign true; git config --global gpg.program false
    git config --global user.useConfigOnly true; git config --global --unset user.email
    echo 'x = 2' > src/code.py
"""
UNSAVABLE = [
    ("'nested/'", "git init -q nested; cd nested; commit file"),
    (
        "'node_modules/fork/'",
        """
        echo node_modules > "$REPO/.git/info/exclude"; git init -q node_modules/fork""",
    ),
    (
        "a merge is under way",
        """
        (cd "$REPO"; git checkout -q -b side; commit side.py)
        git merge --no-ff --no-commit --strategy=ours side""",
    ),
    ("a rebase is under way", "git -c sequence.editor='sed -i 1ibreak' rebase -q -i --root"),
    ("a cherry-pick or revert is under way", 'mkdir "$REPO/.git/worktrees/spec_1/sequencer"'),
    ("a bisect is under way", "git bisect start"),
    (
        "refs that belong to it alone",
        """
        commit new.py; git update-ref refs/worktree/try HEAD; git reset -q --hard HEAD~1""",
    ),
    ("locked", 'git worktree lock "$PWD"'),
    ("no longer the worktree", """git init -q "$BASE"; echo '*' > "$BASE/.gitignore"; rm .git"""),
    (
        "no longer the worktree",
        """
        git clone -q "$REPO" "$BASE/clone"; git -C "$BASE/clone" worktree add --quiet "$BASE/elsewhere"
        mv "$BASE/elsewhere/.git" .git""",
    ),
    ("no longer the worktree", "rm .git; git init -q; commit src/code.py"),
    (
        "'lib/'",
        """
        git clone -q "$REPO" "$BASE/other"; git submodule --quiet add "$BASE/other" lib
        git config -f .gitmodules submodule.lib.ignore all
        git add --all; git commit -qm 'Add lib'; merge_into_main; cd lib; commit precious.py""",
    ),
    (
        "'lib/notes.txt'",
        """
        git update-index --add --cacheinfo 160000,1111111111111111111111111111111111111111,lib; mkdir lib
        git commit -qm 'Add lib'; merge_into_main; printf 'an idea' > lib/notes.txt
        [ -z "$(git status --porcelain --ignored)" ]""",
    ),
    (
        "conflicts are not resolved",
        """
        echo 'x = 2' > src/code.py; git stash -q; commit src/code.py 'x = 3'; git stash apply -q || true""",
    ),
    ("no plain file", "rm src/code.py; mkfifo src/code.py"),
    ("git refuses the names.*git~1", "printf 'on some file systems this is .git' > git~1"),
    ("larger than 100 MB", "truncate -s 100000001 large"),
    ("larger than 500 MB together", "for number in {1..6}; do truncate -s 100000000 large$number; done"),
    ("500 are the most", "mkdir many; cd many; touch {0..500}"),
]
"""The reason why the worktree is kept, a pattern, and the script."""
