"""What an agent has used: each answer once, whatever its transcripts repeat or copy, with its subagents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import TokenUse
from actors.agents.demo.agent import DemoAgent
from actors.instance.evidence import DeliveryEvidence
from actors.instance.tokens import TokenCounter
from actors.instance.transcript import Conversation

RECORDED = Path(__file__).resolve().parents[3] / "fixtures" / "transcripts" / "claude"


def answer(answer_id: str, output: int = 5, text: str = "x", **more: Any) -> bytes:
    usage = {"input_tokens": 10, "output_tokens": output, "cache_read_input_tokens": 7}
    message = {"id": answer_id, "role": "assistant", "content": [{"type": "text", "text": text}], "usage": usage}
    return json.dumps({"type": "assistant", "timestamp": "t", "message": message, **more}).encode() + b"\n"


class Followed:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.conversation = Conversation(DemoAgent("python"), directory, DeliveryEvidence())

    def write(self, name: str, *lines: bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(lines))
        return path

    @property
    def counted(self) -> int:
        self.conversation.follow()
        self.conversation.follow_subagents()
        return self.conversation.tokens.counted


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_an_answer_of_many_lines_counts_once_and_by_its_last_line(followed: Followed) -> None:
    followed.conversation.open(str(followed.write("a.jsonl", answer("m1", 1), answer("m1", 3), answer("m1", 9))))
    assert followed.counted == 10 + 9
    assert followed.conversation.tokens.cache_read_tokens == 7


def test_a_copy_of_a_conversation_and_one_that_is_read_again_count_no_second_time(followed: Followed) -> None:
    first = followed.write("a.jsonl", *(answer(f"m{number}") for number in range(300)))
    branch = followed.write("b.jsonl", *(answer(f"m{number}") for number in range(300)), answer("new"))
    for path in (first, branch, first):
        followed.conversation.open(str(path))
    assert followed.counted == 301 * 15


def test_a_fresh_conversation_adds_to_what_the_one_before_took(followed: Followed) -> None:
    followed.conversation.open(str(followed.write("a.jsonl", answer("m1"))))
    followed.conversation.open(str(followed.write("b.jsonl", answer("m2"))))
    assert followed.counted == 30


def test_subagents_count_with_the_conversation_that_they_belong_to(followed: Followed) -> None:
    main = followed.write("a.jsonl", answer("m1"))
    followed.write("a/subagents/agent-1.jsonl", answer("s1", isSidechain=True), b"torn{\n", answer("s1"))
    followed.write("a/subagents/workflows/w/agent-2.jsonl", answer("s2"))
    followed.write("other/subagents/agent-3.jsonl", answer("s3"))
    followed.conversation.open(str(main))
    assert followed.counted == 45
    followed.write("a/subagents/agent-1.jsonl", answer("s4"))
    followed.conversation.open(str(followed.write("b.jsonl", answer("m2"))))
    assert followed.counted == 75


@pytest.mark.parametrize("version", sorted(path.stem for path in RECORDED.glob("*.jsonl")))
def test_recorded_transcripts_of_the_real_program(version: str, tmp_path: Path) -> None:
    path = RECORDED / f"{version}.jsonl"
    uses: dict[str, tuple[int, int]] = {}
    for line in path.read_bytes().split(b"\n"):
        message = (json.loads(line) if line else {}).get("message", {})
        if message.get("role") == "assistant":
            use = message["usage"]
            uses[message["id"]] = (
                use["input_tokens"] + (use.get("cache_creation_input_tokens") or 0),
                use["output_tokens"],
            )
    followed = Followed(tmp_path)
    followed.conversation.open(str(path))
    assert followed.counted == sum(map(sum, uses.values())) > 0


def test_a_line_that_tells_less_than_one_before_takes_nothing_back() -> None:
    counter = TokenCounter()
    counter.count("m1", TokenUse(input_tokens=10, output_tokens=5))
    counter.count("m1", TokenUse(input_tokens=10, output_tokens=1))
    assert counter.total == TokenUse(input_tokens=10, output_tokens=5)
