"""Sums: a model of two numbers adds many in parts, as its own words ask for them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from aar.oversight import Amplifying, Sampling, Scripted, answers
from aar.oversight.sums import Adding, documents, most, question, questions, truth, vocabulary

HOW = Amplifying(depth=1, branches=2, sampling=Sampling(max_tokens=1))


def adds_two(asked: list[str]) -> Scripted:
    """Right about two numbers, wrong about more."""

    def says(prompt: str, how: Sampling) -> str:
        asked.append(prompt)
        numbers = re.findall(r"\d+", prompt)
        return truth(prompt) if len(numbers) == 2 else "0"

    return Scripted(says)


@pytest.mark.parametrize(("terms", "depth", "right"), [(4, 0, False), (4, 1, True), (8, 1, False), (8, 2, True)])
def test_halves_are_answered_and_their_answers_added(terms: int, depth: int, right: bool) -> None:
    asked: list[str] = []
    adding = Adding(adds_two(asked))
    drawn = questions(terms, 20, 0)
    said = answers(adding, adding, drawn, HOW, depth)
    assert all(r.text == truth(q) for r, q in zip(said, drawn, strict=True)) is right
    assert all(re.fullmatch(r"\d+( \+ \d+)+ =", prompt) for prompt in asked), "in the model's own words"
    assert len(asked) == 20 * (2 ** (depth + 1) - 1), "a call for each part and each composition"


def test_a_part_without_a_number_leaves_the_question_as_it_stands() -> None:
    asked: list[str] = []

    def says(prompt: str, how: Sampling) -> str:
        asked.append(prompt)
        return "+" if prompt == "1 + 2 =" else "7"

    adding = Adding(Scripted(says))
    (reply,) = answers(adding, adding, ["1 + 2 + 3 + 4 ="], HOW, 1)
    assert asked == ["1 + 2 =", "3 + 4 =", "1 + 2 + 3 + 4 ="] and reply.text == "7"


def test_no_question_comes_twice_and_no_document_is_one() -> None:
    def known(texts: Sequence[str]) -> set[str]:
        return {word for text in texts for word in text.split()}

    drawn = questions(3, 1000, 1)
    assert len(set(drawn)) == 1000 and drawn != questions(3, 1000, 2)
    read = documents(4, 500, 0)
    assert all(len(re.findall(r"\d+", text)) == 3 for text in read), "two numbers and their sum"
    assert all(text.split("= ")[1] == truth(text.split("=")[0]) for text in read)
    assert known([*drawn, *read, str(most(4))]) <= set(vocabulary(4, "end"))
    assert truth(question([9] * 4)) == str(most(4)) == "36"
    with pytest.raises(ValueError, match="only 1000 sums of 3 digits"):
        questions(3, 1001, 0)
