from __future__ import annotations

from actors.agents.demo.turns import answer_to, directives_in


def test_only_a_line_of_its_own_is_a_directive() -> None:
    assert directives_in(["say @@demo crash 1\n @@demo busy 1\n@@demonstrate"]) == []
    assert directives_in(["@@demo ask\n\n@@demo busy 2", "@@demo ask"]) == [("ask", ""), ("busy", "2"), ("ask", "")]


def test_the_answer_counts_messages_by_their_headers() -> None:
    prompts = ["[phalanx msg_1 from lead]\none\n\n[phalanx msg_2 from spec_1]\ntwo", "[phalanx msg_3 from lead]\nthree"]

    assert answer_to(prompts) == "demo: received 3 message(s): three"
    assert answer_to(["hello"]) == "demo: received 1 message(s): hello"
