"""English text on which engines are checked and calibrated, written for this package: no model was trained on it.

Lengths go from two words to a paragraph, with names, numbers, punctuation and rare words, because outliers of the
activations, which low precision has to bear, come from such tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertpass.engines.base import Batch
from bertpass.model.record import Checkpoint

TEXT_LENGTH = 128  # tokens to which the sentences are cut


#: every engine's outputs on these are compared with the reference's
CHECK = (
    "Hello there.",
    "The train to Lisbon leaves at 7:45 from platform nine.",
    "I would not watch this film again, even if somebody paid me.",
    "Water boils at a lower temperature in the mountains because the air pressure is lower.",
    "Her second novel is warm, funny and twenty pages too long.",
    "Please send the signed contract to our office in Rotterdam before Friday, 14 March.",
    "Why does the printer in room 204 stop after every third page?",
    "An owl sat in the old pear tree.",
    "Researchers measured the concentration of nitrate in forty wells and found that eleven exceeded the limit.",
    "He said: \"No, thank you\", closed the door and never came back.",
    "The quarterly report shows revenue of 12.4 million euros, up 3.1 % from a year ago, while costs rose faster.",
    "Slice the onions thinly, fry them in butter until they are golden, and add a glass of dry white wine.",
    "Unfortunately the xylophonist's zeal did not make up for her missing mallets; the audience left in the interval.",
    "Is there a pharmacy near the station that is open on Sundays?",
    "The committee postponed its decision for the third time, citing incomplete documents, an unclear budget and the "
    "absence of two members, so the bridge will not be repaired before the winter and lorries must keep using the "
    "detour through the villages.",
    "Once a lighthouse keeper's cottage, the museum now shows maps, ropes, letters and a brass telescope through "
    "which, on clear days, visitors can make out the ships that wait for the tide. Entry is free for children, and the "
    "tower may be climbed in groups of six, provided that the wind is below forty kilometres an hour.",
)

#: int8 engines choose their scales on these
CALIBRATION = (
    "Good morning!",
    "The children built a raft out of barrels and string.",
    "Our flight was cancelled, but the airline found us a hotel within an hour.",
    "This is the dullest thriller of the year: no suspense, no wit, no reason to stay awake.",
    "Copper conducts electricity better than iron, which is why it is used for cables.",
    "Could you tell me how much a ticket to the aquarium costs?",
    "A lovely, quiet film about two brothers and a broken accordion.",
    "The patient was given 250 mg of the drug twice a day for six weeks without side effects.",
    "In 1911 the harbour was closed, and the fishermen moved to the next bay.",
    "My neighbour's dog barks whenever somebody plays the trumpet.",
    "To reset the device, hold both buttons for ten seconds until the red light blinks.",
    "She speaks Portuguese, Danish and a little Quechua.",
    "The verdict surprised everyone, including the lawyers who had argued for it.",
    "Add 200 grams of flour, two eggs and a pinch of salt; let the dough rest overnight.",
    "The algorithm sorts its input in O(n log n) steps and needs no additional memory.",
    "They won the match 3-2 after extra time, with ten players on the pitch.",
    "Rents have doubled in eight years, and teachers can no longer afford to live near their schools.",
    "What is the capital of Mongolia, and how many people live there?",
    "The second act drags, the songs are forgettable, yet the ending redeems a great deal of it, and the young cellist "
    "in the leading role deserves every bit of the applause that she received on the opening night.",
    "After the storm the beach was covered with driftwood, nets, bottles and thousands of small blue jellyfish; the "
    "council asked volunteers to wear gloves, to leave the animals where they were, and to bring what they collected "
    "to the car park, where two lorries waited until the evening to take everything to the recycling plant.",
    "Quartz, feldspar and mica make up most granite.",
    "Nobody answered the phone, so I wrote an e-mail to support@example.org instead.",
    "The poem has fourteen lines and does not rhyme.",
    "Despite its size an elephant walks almost without a sound, because a cushion of fat spreads under every foot.",
)


def _encoded(checkpoint: Checkpoint, texts: Sequence[str]) -> list[np.ndarray]:
    longest = min(checkpoint.max_length or TEXT_LENGTH, TEXT_LENGTH)
    if checkpoint.tokenizer is not None:
        return [row.ids for row in checkpoint.tokenizer.encode(list(texts), max_length=longest)]
    random = np.random.default_rng(len(texts))
    lengths = [min(len(text.split()) + 2, longest) for text in texts]
    return [random.integers(0, checkpoint.config.vocab_size, length) for length in lengths]


def check_batch(checkpoint: Checkpoint) -> Batch:
    """The sentences of every engine's check as one ragged batch; random ids where the model has no vocabulary."""
    rows = _encoded(checkpoint, CHECK)
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for place, row in enumerate(rows):
        ids[place, :len(row)] = row
    return ids, np.zeros_like(ids), np.array([len(row) for row in rows], np.int32)


def calibration_batches(checkpoint: Checkpoint) -> list[Batch]:
    """The sentences of int8's calibration, one a batch, so that no padding has a part in it."""
    rows = [row[None].astype(np.int32) for row in _encoded(checkpoint, CALIBRATION)]
    return [(row, np.zeros_like(row), np.array([row.shape[1]], np.int32)) for row in rows]
