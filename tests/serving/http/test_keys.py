"""Keys with names and rates, and HTTPS: what is compared, counted, logged and refused."""

import asyncio
import logging
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from bertpass.errors import UsageError
from bertpass.serving import keys, tls
from bertpass.serving.options import ServeOptions
from tests.helpers.served import Process, serving

BODY = {"inputs": "a"}


def bearer(key):
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# clients\nsearch:s3cret:with:colons\n\n  slow: c-7a1 0.5 \r\nfast:q-4d8 3\n")
    return path


def test_the_keys_of_a_file(file):
    found = keys.of("m-9f2", str(file))
    assert len(found) == 4 and found.find(b"m-9f2").name == "" and found.find(b"s3cret:with:colons").name == "search"
    assert (found.find(b"c-7a1").rate, found.find(b"q-4d8").rate, found.find(b"m-9f2").rate) == (0.5, 3.0, None)
    assert not any(found.find(wrong) for wrong in (b"", b"M-9F2", b"m-9f", b"m-9f2 ", b"search", b"c-7a1 0.5"))
    assert "s3cret" not in repr(found.find(b"s3cret:with:colons"))


def test_every_key_is_compared(file, monkeypatch):
    """Wherever the right one stands, and where there is none; whole digests of one length each time."""
    compared = []
    real = keys.hmac.compare_digest
    found = keys.of("m-9f2", str(file))
    monkeypatch.setattr(keys.hmac, "compare_digest",
                        lambda *both: compared.append(tuple(map(len, both))) or real(*both))
    for given in (b"m-9f2", b"q-4d8", b"no", b"x" * 5000):
        compared.clear()
        found.find(given)
        assert compared == [(32, 32)] * 4


@pytest.mark.parametrize(("content", "sentence"), [
    ("", "there is no key in it"), ("# only this\n", "there is no key in it"),
    ("a:b\nsecret\n", "line 2: write NAME:KEY"), ("a b:secret\n", "line 1: write NAME:KEY"),
    ("a:\n", "line 1: write NAME:KEY, or NAME:KEY RATE"), ("a:secret 1 2\n", "a key has no white space"),
    ("a:secr\u00e9t\n", "printable ASCII"), ("a:secret fast\n", "above 0"), ("a:secret 0\n", "above 0"),
    ("a:secret nan\n", "above 0"), ("a:x\na:y\n", "line 2: the name a is there twice"),
    ("a:secret\nb:secret\n", "line 2: the key is there already"), ("a:m-9f2\n", "line 1: the key is there already")])
def test_a_wrong_file_is_refused_without_its_keys(tmp_path, content, sentence):
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=sentence) as caught:
        ServeOptions(models=["embedding"], api_key="m-9f2", api_keys=str(path))
    assert "secr" not in str(caught.value)


def test_a_file_that_is_not_there_ends_the_command_before_a_model_is_read(tmp_path):
    with Process("no_such_model", "--api_keys", tmp_path / "none") as server:
        assert "none: No such file" in server.said() and server.process.returncode == 2


def test_a_rate_counts_over_time():
    key = keys.Key("a", b"", rate=2.0)
    assert [key.take(at) for at in (10.0, 10.0, 10.0)] == [0, 0, 0.5]
    assert key.take(10.25) == 0.25 and key.take(10.5) == 0 and key.take(10.5) == 0.5
    assert [key.take(at) for at in (99.0, 99.0, 99.0)] == [0, 0, 0.5]  # no more than a second's worth is saved
    slow = keys.Key("b", b"", rate=0.1)
    assert slow.take(5.0) == 0 and slow.take(6.0) == pytest.approx(9.0)
    assert not any(keys.Key("c", b"").take(0.0) for _ in range(100))


def test_names_are_logged_and_counted_and_rates_kept(file, caplog):
    async def job():
        async with serving("embedding", api_key="m-9f2", api_keys=str(file)) as client:
            clock = 100.0
            client.state.options.keys.clock = lambda: clock
            assert (await client.post("/embed", json=BODY)).status_code == 401
            assert (await client.post("/embed", json=BODY, headers=bearer("search"))).status_code == 401
            for key in ("m-9f2", "s3cret:with:colons", "c-7a1"):
                assert (await client.post("/embed", json=BODY, headers=bearer(key))).status_code == 200
            late = await client.post("/embed", json=BODY, headers=bearer("c-7a1"))
            assert late.status_code == 429 and late.headers["retry-after"] == "2"
            assert late.json()["error_type"] == "rate_limited" and "slow may send 0.5 requests" in late.json()["error"]
            told = await client.post("/v1/embeddings", json={"input": "a"}, headers=bearer("c-7a1"))
            assert told.json()["error"]["code"] == "rate_limit_exceeded"
            assert (await client.get("/info", headers=bearer("c-7a1"))).status_code == 200  # nothing is computed
            clock += 2.0
            assert (await client.post("/embed", json=BODY, headers=bearer("c-7a1"))).status_code == 200
            info = (await client.get("/info", headers=bearer("m-9f2"))).text
            return (await client.get("/metrics")).text, info

    with caplog.at_level(logging.INFO, "bertpass.serving"):
        metrics, info = asyncio.run(job())
    for line in ('bertpass_key_requests_total{key="search",status="200"} 1.0',
                 'bertpass_key_requests_total{key="slow",status="200"} 2.0',
                 'bertpass_key_requests_total{key="slow",status="429"} 2.0',
                 'te_request_failure{err="rate_limited"} 2.0', 'te_request_failure{err="unauthorized"} 2.0'):
        assert line in metrics.splitlines()
    assert metrics.count("bertpass_key_requests_total{") == 3  # the key of --api_key has no name
    named = [record.fields.get("key") for record in caplog.records if record.getMessage().startswith("POST ")]
    assert named == [None, None, None, "search", "slow", "slow", "slow", "slow"]
    everything = metrics + info + "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert not any(secret in everything for secret in ("m-9f2", "s3cret", "c-7a1", "q-4d8"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the tests of HTTPS make a certificate: install openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
    subprocess.run(["openssl", "ec", "-in", folder / "key", "-aes128", "-passout", "pass:word", "-out",
                    folder / "encrypted"], check=True, capture_output=True)
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "other"],
                   check=True, capture_output=True)
    (folder / "both").write_text((folder / "key").read_text() + (folder / "cert").read_text())
    (folder / "text").write_text("no certificate")
    return folder


@pytest.mark.parametrize(("names", "sentence"), [
    (("cert", "none"), "cannot be read .no such file"), (("cert", "other"), "not that of the certificate"),
    (("cert", "encrypted"), "openssl pkey"), (("text",), "no PEM files"), (("cert",), "no PEM files"),
    (("cert", "key", "both"), "name the certificate and its private key")])
def test_a_wrong_certificate_is_refused(certificate, names, sentence):
    with pytest.raises(UsageError, match=sentence):
        ServeOptions(models=["embedding"], tls=[str(certificate / name) for name in names])


def test_ray_speaks_no_https(certificate):
    with pytest.raises(UsageError, match="Ray's proxy speaks HTTP only"):
        ServeOptions(models=["embedding"], tls=[str(certificate / "both")], ray=True)


def test_https(certificate):
    words = ("embedding", "--port", 0, "--engine", "dummy", "--tls", certificate / "cert", certificate / "key")
    with Process(*words) as server:
        while not (found := [line for line in server.lines if "listening at https://127.0.0.1:" in line]):
            assert server.process.poll() is None
        port = int(found[0].split(":")[-1].split()[0])
        trusting = ssl.create_default_context(cafile=str(certificate / "cert"))
        request = urllib.request.Request(f"https://127.0.0.1:{port}/embed", b'{"inputs": "a"}', {
            "content-type": "application/json"})
        end, status = time.monotonic() + 60, 503
        while status == 503 and time.monotonic() < end:  # until it is warm
            try:
                with urllib.request.urlopen(request, context=trusting) as reply:
                    status = reply.status
            except urllib.error.HTTPError as error:
                status = error.code
        assert status == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(request, context=ssl.create_default_context())
        old = ssl.create_default_context(cafile=str(certificate / "cert"))
        with pytest.warns(DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(request, context=old)
        with pytest.raises(OSError):  # HTTP without TLS is cut off, in one of several ways
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10)
        healthy = subprocess.run([sys.executable, "container/healthy.py"], check=False, capture_output=True, env={
            "PYTHONPATH": ":".join(sys.path), "BERTPASS_SERVE_PORT": str(port),
            "BERTPASS_SERVE_TLS": str(certificate / "cert")})
        assert healthy.returncode == 0, healthy.stderr


def test_one_file_may_hold_both(certificate):
    assert tls.context([str(certificate / "both")]).minimum_version >= ssl.TLSVersion.TLSv1_2
