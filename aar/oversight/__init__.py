"""Oversight: protocols in which weak judges get help, as pure functions over a `Speaker` that is passed in.

No protocol knows which answer is right: `aar.scoring` puts verdicts and truth together.
"""

from aar.oversight.amplify import Amplifying, amplify, answers
from aar.oversight.critique import self_critique
from aar.oversight.debate import Debating, consultancy, critique, debate, direct, direct_at, double_consultancy
from aar.oversight.judge import ABSTAINED, Comparison, Judging, Verdicts, decisions, judge
from aar.oversight.known import Skill, known
from aar.oversight.meter import Cost, Metered
from aar.oversight.quotes import Quote, check
from aar.oversight.recursive import Recursing, majority, recursive
from aar.oversight.speaker import Choices, Reply, Sampling, Scripted, Speaker, SpeakerStopped, Usage, reply_of
from aar.oversight.transcript import Cast, Outcome, Transcript, Turn

__all__ = [
    "ABSTAINED",
    "Amplifying",
    "Cast",
    "Choices",
    "Comparison",
    "Cost",
    "Debating",
    "Judging",
    "Metered",
    "Outcome",
    "Quote",
    "Recursing",
    "Reply",
    "Sampling",
    "Scripted",
    "Skill",
    "Speaker",
    "SpeakerStopped",
    "Transcript",
    "Turn",
    "Usage",
    "Verdicts",
    "amplify",
    "answers",
    "check",
    "consultancy",
    "critique",
    "debate",
    "decisions",
    "direct",
    "direct_at",
    "double_consultancy",
    "judge",
    "known",
    "majority",
    "recursive",
    "reply_of",
    "self_critique",
]
