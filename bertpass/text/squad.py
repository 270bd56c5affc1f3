"""SQuAD: read questions, cut windows, choose answers, evaluate. The parts are in the ``squad_*`` modules."""

from bertpass.text.squad_answers import Candidate, Prediction, best_answers
from bertpass.text.squad_data import Answer, Question, SquadData, named, read_squad
from bertpass.text.squad_metrics import evaluate
from bertpass.text.squad_windows import Window, make_windows

__all__ = ["Answer", "Candidate", "Prediction", "Question", "SquadData", "Window", "best_answers", "evaluate",
           "make_windows", "named", "read_squad"]
