"""SQuAD: read questions, cut windows, choose answers, evaluate; a module for each."""

from bertpass.text.squad.answers import Candidate, Prediction, best_answers
from bertpass.text.squad.data import Answer, Question, SquadData, named, read_squad
from bertpass.text.squad.metrics import evaluate
from bertpass.text.squad.windows import Window, make_windows

__all__ = ["Answer", "Candidate", "Prediction", "Question", "SquadData", "Window", "best_answers", "evaluate",
           "make_windows", "named", "read_squad"]
