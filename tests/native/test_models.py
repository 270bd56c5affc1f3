"""Whole models in each instruction set and precision against NumPy in float64."""

import os
import threading

import numpy as np
import pytest

from bertpass.engines.native import DTYPES, NativeEngine
from tests.helpers import reference
from tests.helpers.reference import NETWORKS, batch, tiny

SETS = reference.instruction_sets()
LENGTHS = [17, 1, 30, 2, 13]
RAGGED = 33  # tokens to which they are padded


def largest(found, wanted):
    assert [f.shape for f in found] == [w.shape for w in wanted] and all(f.dtype == np.float32 for f in found)
    return max(np.abs(f - w).max() for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("head", reference.HEADS)
@pytest.mark.parametrize("family", NETWORKS)
def test_parity(family, head, isa):
    checkpoint = tiny(family, head)
    inputs = batch(checkpoint.config, LENGTHS, RAGGED)
    wanted = reference.outputs(checkpoint, *inputs)
    assert largest(NativeEngine(checkpoint, threads=1, isa=isa).forward(*inputs), wanted) <= 1e-5
    # `wide` is what the precision may cost: much, because these models are tiny and random.
    for dtype, wide in (("bfloat16", 2e-2), ("int8", 6e-2)):
        rounded = reference.outputs(checkpoint, *inputs, low=reference.precision(dtype, isa))
        low = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa).forward(*inputs)
        for found, right, exact in zip(low, rounded, wanted, strict=True):
            assert np.linalg.norm(found - right) <= reference.flip(dtype, isa) * np.linalg.norm(right)
            assert np.linalg.norm(found - exact) <= wide * np.linalg.norm(exact)
        if head in ("none", "pooled"):
            assert np.median(reference.row_errors(low[0], rounded[0], inputs[2])) <= reference.AGREEING


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("sizes", [
    {"units": 1, "hidden_size": 1, "num_heads": 1, "vocab_size": 1, "max_length": 3},
    {"units": 15, "hidden_size": 7, "num_heads": 3, "activation": "relu"},
    {"units": 35, "hidden_size": 129, "num_heads": 7, "activation": "gelu_tanh", "num_layers": 1},
    {"units": 64, "hidden_size": 256, "num_heads": 2, "max_length": 300, "num_layers": 1},
], ids=str)
def test_sizes(sizes, isa):
    checkpoint = tiny(**sizes)
    longest = checkpoint.config.max_length
    for lengths, length in (([1], 1), ([1], 2), ([longest], longest), ([2, longest - 1, 1, 1], longest)):
        inputs = batch(checkpoint.config, lengths, length)
        wanted = reference.outputs(checkpoint, *inputs)
        assert largest(NativeEngine(checkpoint, threads=1, isa=isa).forward(*inputs), wanted) <= 2e-5
        for dtype, bound in (("bfloat16", 0.2), ("int8", 0.6)):
            low = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa).forward(*inputs)[0]
            assert np.isfinite(low).all() and np.abs(low - wanted[0]).max() <= bound


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_output_is_written_and_padding_is_not_read(isa, dtype):
    for head in reference.HEADS:
        checkpoint = tiny(head=head)
        ids, types, lengths = batch(checkpoint.config, LENGTHS, RAGGED)
        model = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa).model
        found = [np.full(s, np.nan, np.float32) for s in model.output_shapes(*ids.shape)]
        model.forward(ids, types, lengths, found)
        assert all(np.isfinite(f).all() for f in found), head
        past = np.arange(RAGGED) >= lengths[:, None]
        if head in ("none", "pooled"):
            assert not found[0][past].any() and not np.signbit(found[0][past]).any()
        if head == "qa":
            assert np.array_equal(found[0][past], np.tile(checkpoint.params["span_classifier.bias"], (past.sum(), 1)))
        ids[past], types[past] = 10**9, -7  # a table must not be read there
        again = [np.full(f.shape, np.nan, np.float32) for f in found]
        model.forward(ids, types, lengths, again)
        assert all(np.array_equal(f, a) for f, a in zip(found, again, strict=True)), head


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_neighbours_nor_threads_change_a_row(isa, dtype):
    """Not by one bit: every sum runs in the same order whatever stands around the row."""
    checkpoint = tiny()
    ids, types, lengths = batch(checkpoint.config, LENGTHS, RAGGED)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa)
    together = engine.forward(ids, types, lengths)[0]
    for i, n in enumerate(lengths):
        alone = engine.forward(ids[i:i + 1, :n], types[i:i + 1, :n], lengths[i:i + 1])[0]
        assert np.array_equal(alone[0], together[i, :n])
    two = NativeEngine(checkpoint, dtype=dtype, threads=2, isa=isa)
    assert np.array_equal(two.forward(ids, types, lengths)[0], together)
    assert np.array_equal(engine.forward(ids[::-1], types[::-1], lengths[::-1])[0][::-1], together)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("family", ["modernbert", "new", "jina_bert"])
def test_longer_than_windows_and_panels(family, isa, dtype):
    """Windows leave whole panels of keys out; a row has the same bits alone, in a batch and by two threads."""
    fields = {"window": 20, "num_layers": 2} if family == "modernbert" else {}
    checkpoint = tiny(family, units=64, hidden_size=96, num_heads=2, max_length=260, **fields)
    inputs = batch(checkpoint.config, [260, 97, 1, 40], 260)
    wanted = reference.outputs(checkpoint, *inputs, low=reference.precision(dtype, isa))[0]
    found = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa).forward(*inputs)[0]
    most = 5e-6 if dtype == "float32" else reference.flip(dtype, isa)
    assert np.linalg.norm(found - wanted) <= most * np.linalg.norm(wanted)
    both = NativeEngine(checkpoint, dtype=dtype, threads=2, isa=isa)
    for row, length in enumerate(inputs[2]):
        alone = both.forward(*(part[row:row + 1, :length] for part in inputs[:2]), inputs[2][row:row + 1])[0]
        assert np.array_equal(alone[0], found[row, :length])


def test_two_threads_on_work_that_is_worth_it():
    """The tiny models above stay on one thread; this one does not."""
    checkpoint = tiny(units=128, hidden_size=512, num_heads=4, max_length=128)
    inputs = batch(checkpoint.config, [128, 70, 1, 99], 128)
    one, two = (NativeEngine(checkpoint, threads=n).forward(*inputs)[0] for n in (1, 2))
    assert np.array_equal(one, two)
    assert largest([two], reference.outputs(checkpoint, *inputs)) <= 2e-5


def test_batches_of_many_tokens():
    """More tokens than go through a layer together (1024), in short and long sequences, one of them longer alone."""
    checkpoint = tiny(max_length=1100)
    lengths = [1100, 1, 600, 424, 1, 1000, 30, 5, 7]
    inputs = batch(checkpoint.config, lengths, 1100)
    wanted = reference.outputs(checkpoint, *inputs)
    for dtype, bound in (("float32", 2e-5), ("bfloat16", 0.2), ("int8", 0.6)):
        assert largest(NativeEngine(checkpoint, dtype=dtype, threads=1).forward(*inputs), wanted) <= bound


def test_several_python_threads_and_models_at_once():
    checkpoints = [tiny(), tiny(seed=4, head="pooled", units=128, hidden_size=512, num_heads=4)]
    engines = [NativeEngine(c, threads=2) for c in checkpoints]
    jobs = [(n % 2, batch(checkpoints[n % 2].config, [n + 1, 30, 1, 9], 32, seed=n)) for n in range(8)]
    wanted = [engines[which].forward(*inputs) for which, inputs in jobs]
    wrong = []

    def work(number):
        for turn in range(40):
            at = (number + turn) % len(jobs)
            found = engines[jobs[at][0]].forward(*jobs[at][1])
            if not all(np.array_equal(f, w) for f, w in zip(found, wanted[at], strict=True)):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_process_has_threads_of_its_own():
    checkpoint = tiny(units=128, hidden_size=512, num_heads=4, max_length=128)
    engine, inputs = NativeEngine(checkpoint, threads=3), batch(checkpoint.config, [128, 70, 1, 99], 128)
    wanted = engine.forward(*inputs)[0]
    child = os.fork()
    if child == 0:  # only exit codes leave this process
        before = len(os.listdir("/proc/self/task"))  # other libraries start theirs when a process forks
        same = all(np.array_equal(engine.forward(*inputs)[0], wanted) for _ in range(3))
        os._exit(0 if same and len(os.listdir("/proc/self/task")) == before + 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_stays_flat():
    checkpoint = tiny(head="pooled", units=128, hidden_size=512, num_heads=4)
    engine, source = NativeEngine(checkpoint, threads=1), np.random.default_rng(5)

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def one(rows, length):
        lengths = np.append(source.integers(1, length + 1, rows - 1), length)
        engine.forward(*batch(checkpoint.config, lengths, length))

    for _ in range(500):  # the allocator reaches its own level first
        one(source.integers(1, 17), source.integers(1, 41))
    one(16, 40)
    before = resident()
    for _ in range(1000):
        one(source.integers(1, 17), source.integers(1, 41))
    assert resident() - before < 2 * 2**20  # a forward needs some 0.5 MB


@pytest.mark.parametrize(("change", "words"), [
    (lambda i, t, v: i.__setitem__((0, 0), 61), "input_ids must be from 0 to 60, not 61"),
    (lambda i, t, v: i.__setitem__((1, 0), -1), "input_ids"), (lambda i, t, v: t.__setitem__((0, 3), 2), "token_types"),
    (lambda i, t, v: v.__setitem__(0, 0), "valid_length must be from 1 to 33, not 0"),
    (lambda i, t, v: v.__setitem__(0, 34), "valid_length")])
def test_inputs_out_of_range(change, words):
    from bertpass.errors import UsageError

    checkpoint = tiny()
    inputs = batch(checkpoint.config, LENGTHS, RAGGED)
    change(*inputs)
    with pytest.raises(UsageError, match=words):
        NativeEngine(checkpoint).forward(*inputs)


def test_shapes_that_do_not_fit():
    from bertpass.errors import UsageError

    checkpoint = tiny()
    engine = NativeEngine(checkpoint)
    ids, types, lengths = batch(checkpoint.config, [3, 3])
    for bad in ((ids[0], types, lengths), (ids, types[:1], lengths), (ids, types, lengths[:1])):
        with pytest.raises(UsageError, match="must be \\(batch, sequence\\)"):
            engine.forward(*bad)
    with pytest.raises(UsageError, match="longer than the model's 40 positions"):
        engine.forward(*batch(checkpoint.config, [3], 41))
    shape = engine.model.output_shapes(2, 3)[0]
    for outputs, error in (([], ValueError), ([np.zeros((2, 3, 35), np.float32)], ValueError),
                           ([np.zeros(shape)], TypeError)):
        with pytest.raises(error):
            engine.model.forward(ids, types, lengths, outputs)
    frozen = np.zeros(shape, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        engine.model.forward(ids, types, lengths, [frozen])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", reference.HEADS)
def test_no_rows_give_no_outputs(head, dtype):
    engine, empty = NativeEngine(tiny(head=head), dtype=dtype), np.zeros((0, 4), np.int32)
    wanted = [output[:0].shape for output in engine.forward(*batch(tiny().config, [4]))]
    assert [output.shape for output in engine.forward(empty, empty, np.zeros(0, np.int32))] == wanted
