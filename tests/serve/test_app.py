"""The HTTP side: right answers, and for everything else a status and a sentence."""

import io
import json
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from relalign.serve.app import create_app
from relalign.serve.protection import LOOPBACK
from relalign.serve.service import Service
from relalign.serve.uploads import UploadLimits
from tests.serve.served_project import SCRIPT


@pytest.fixture(scope="module")
def client(service: Service):
    with TestClient(create_app(service, hosts=LOOPBACK), base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture(scope="module")
def strict(service: Service):
    limits = UploadLimits(bytes=50_000, pixels=10_000, seconds=0.5)
    with TestClient(create_app(service, limits=limits), raise_server_exceptions=False) as client:
        yield client


def image_bytes(size=(16, 16), kind="PNG", mode="RGB") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(
        stream, kind
    )
    return stream.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is so large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 9) + b"IDAT"
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_text_is_answered_by_each_method_asked(client, service) -> None:
    asked = {"text": " the\n dog", "method": ["cca", "contrastive"], "top": 3}
    answer = client.get("/api/search", params=asked).json()
    assert (answer["kind"], answer["text"]) == ("text", "the dog")
    assert [found["method"] for found in answer["methods"]] == ["cca", "contrastive"]
    for found in answer["methods"]:
        assert len(found["images"]) == len(found["texts"]) == 3
        assert found["images"] == sorted(found["images"], key=lambda image: -image["score"])
    assert answer["milliseconds"] >= answer["encode_milliseconds"] > 0


def test_without_a_method_the_last_one_answers(client) -> None:
    assert [each["method"] for each in client.get("/api/search?text=dog").json()["methods"]] == ["cca"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_uploaded_image_is_answered_alone_and_mixed(client, kind) -> None:
    alone = client.post("/api/search", content=image_bytes(kind=kind)).json()
    assert alone["kind"] == "image"
    mixed = client.post("/api/search?text=dog&mix=1", content=image_bytes(kind=kind)).json()
    text = client.get("/api/search?text=dog").json()
    assert mixed["kind"] == "mixed"
    assert mixed["methods"][0]["images"] == text["methods"][0]["images"]


def test_an_uploaded_test_image_finds_itself(client, service) -> None:
    image = max(service.collection.paths)
    found = client.post("/api/search", content=service.collection.file(image).read_bytes()).json()["methods"][0]
    assert found["images"][0]["image_id"] == image
    assert found["images"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_test_queries_are_ticked_and_re_ranked(client, service) -> None:
    caption = max(service.collection.captions)
    answer = client.get(f"/api/search?caption={caption}&method=contrastive&rerank=true&top=100").json()
    found = answer["methods"][0]
    assert answer["text"] == service.collection.captions[caption]
    assert [image["image_id"] for image in found["images"] if image["right"]] == [max(service.collection.paths)]
    logits = [image["matching"] for image in found["images"]]
    assert logits == sorted(logits, reverse=True)


def test_random_queries_are_of_the_test_split_and_can_be_asked(client, service) -> None:
    for _ in range(5):
        caption, image = (client.get(f"/api/random?of={kind}").json() for kind in ("text", "image"))
        assert service.collection.captions[caption["caption"]] == caption["text"]
        assert image["image"] in service.collection.paths
        assert client.get("/api/search", params={"caption": caption["caption"]}).status_code == 200


def test_images_are_served_by_id_as_small_jpegs(client, service) -> None:
    response = client.get(f"/api/images/{min(service.collection.paths)}")
    assert response.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(response.content)).size == (16, 16)


BAD = [
    ("/api/search", 400, "Nothing is asked"),
    ("/api/search?text=%20%00", 400, "Nothing is asked"),
    ("/api/search?text=a&method=clip", 400, "'clip' is not among the methods here: contrastive, cca."),
    ("/api/search?text=a&caption=65", 400, "not both"),
    ("/api/search?caption=1", 404, "no caption with id 1"),
    ("/api/search?image=1", 404, "no image with id 1"),
    ("/api/search?image=99999999999999999999", 404, "no image"),
    ("/api/search?image=a", 422, "image: input should be a valid integer"),
    ("/api/search?text=a&top=0", 422, "top: input should be greater than or equal to 1."),
    ("/api/search?text=a&top=101", 422, "top: "),
    ("/api/search?text=a&mix=nan", 422, "mix: "),
    ("/api/search?text=a&mix=2", 422, "mix: "),
    ("/api/search?text=a&rerank=maybe", 422, "rerank: "),
    ("/api/search?text=" + 1001 * "a", 422, "text: string should have at most 1000 characters"),
    ("/api/search?text=a" + 17 * "&method=cca", 422, "method: "),
    ("/api/search?text=a&metod=cca", 422, "'metod' is no parameter of this call"),
    ("/api/random?of=sound", 422, "of: input should be 'text' or 'image'"),
    ("/api/images/1", 404, "no image with id 1"),
    ("/api/images/a", 422, "image_id: "),
    ("/absent", 404, "nothing at this address"),
    ("/docs", 404, "nothing at this address"),
]


@pytest.mark.parametrize(("url", "status", "said"), BAD)
def test_a_bad_request_is_a_status_and_a_sentence(client, url, status, said) -> None:
    response = client.get(url)
    assert response.status_code == status
    assert said in response.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/",
        "/api/images/..%2f..%2fparams.yaml",
        "/api/images/%2e%2e/params.yaml",
        "/results/openmoji/contrastive/seed0/model/config.json",
        "/params.yaml",
    ],
)
def test_nothing_outside_is_served_by_any_path(client, path) -> None:
    response = client.get(path)
    assert response.status_code in (404, 422)
    assert [*response.json()] == ["error"]


@pytest.mark.parametrize("verb", ["put", "delete", "patch", "post"])
def test_other_verbs_are_refused(client, verb) -> None:
    response = getattr(client, verb)("/api/info")
    assert response.status_code == 405
    assert "does not take this kind" in response.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "zero bytes"),
        (b"no image at all", 400, "no image that can be read. JPEG, PNG"),
        (image_bytes((90, 90))[:5000], 400, "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "no image that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "no image that can be read"),
        (image_bytes((200, 200), "JPEG")[:40_000], 413, "more than 10,000 pixels"),
        (png_of_size(60_000, 60_000), 413, "more than 10,000 pixels"),
        (b"x" * 50_001, 413, "larger than 0.05 MB"),
    ],
    ids=["empty", "text", "truncated", "eps", "svg", "large", "bomb", "bytes"],
)
def test_a_bad_upload_is_a_status_and_a_sentence_that_names_no_file(strict, content, status, said) -> None:
    response = strict.post("/api/search", content=content)
    assert response.status_code == status
    assert re.search(said, response.json()["error"])
    assert "/tmp" not in response.text
    assert "relalign-" not in response.text


def test_an_upload_without_a_declared_length_is_counted_while_it_comes(strict) -> None:
    taken = []

    def endless():
        for number in range(1000):
            taken.append(number)
            yield b"x" * 10_000

    response = strict.post("/api/search", content=endless())
    assert response.status_code == 413


def test_a_form_is_told_to_send_the_bytes_alone(client) -> None:
    response = client.post("/api/search", files={"image": image_bytes()})
    assert response.status_code == 415
    assert "--data-binary" in response.json()["error"]


def test_every_response_is_protected_also_one_to_a_failure(client, strict, monkeypatch, service) -> None:
    def fails(queries):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(service, "answer", fails)
    broken = strict.get("/api/search?text=dog")
    monkeypatch.undo()
    assert broken.status_code == 500
    assert "secret" not in broken.text
    urls = ("/", "/api", "/static/page.js", "/api/search?text=a", "/api/images/1", "/absent", "/metrics")
    for response in (broken, *map(client.get, urls)):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "cache-control" in response.headers


def test_other_hosts_and_other_origins_are_refused(client) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example"):
        response = client.get("/api/info", headers={"host": host})
        assert response.status_code == 400
        assert "content-security-policy" in response.headers
    for host in ("127.0.0.1:8000", "[::1]:8000", "LOCALHOST"):
        assert client.get("/api/info", headers={"host": host}).status_code == 200
    for origin in ("http://evil.example", "null"):
        response = client.post("/api/search", content=image_bytes(), headers={"origin": origin})
        assert response.status_code == 403
        assert "another origin" in response.json()["error"]
    own = client.post("/api/search", content=image_bytes(), headers={"origin": "http://localhost:8000"})
    assert own.status_code == 200


def tags(page: str) -> list[tuple[str, dict[str, str]]]:
    """The tags of a page, as a browser would take them, with their attributes."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    return found


def test_pages_name_nothing_outside_and_hold_no_inline_script(client) -> None:
    for url in ("/", "/api"):
        page = client.get(url).text
        # The curl examples of the API page name this server.
        assert {*re.findall(r"https?://[\w.:]+", page)} <= {"http://localhost:8000"}
        for tag, attributes in tags(page):
            assert tag not in ("style", "iframe", "object", "base")
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag != "script" or attributes["src"].startswith("/static/")
    for name in ("page.js", "page.css"):
        assert "http" not in client.get(f"/static/{name}").text.replace("http://www.w3.org", "")


def test_a_caption_that_is_a_script_is_text_on_the_page_and_in_the_api(client, service) -> None:
    assert SCRIPT in service.collection.captions.values()
    page = client.get("/").text
    assert "<script>document" not in page
    assert "&lt;script&gt;document" in page
    caption = next(id_ for id_, text in service.collection.captions.items() if text == SCRIPT)
    response = client.get(f"/api/search?caption={caption}")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["text"] == SCRIPT


def test_many_queries_at_once_get_the_answers_of_one_at_a_time(client, service) -> None:
    urls = [f"/api/search?{key}={id_}&top=5" for id_ in service.collection.paths for key in ("image", "text")]
    alone = [client.get(url).json() for url in urls]
    with ThreadPoolExecutor(16) as pool:
        together = [response.json() for response in pool.map(client.get, urls * 3)]
    for one, other in zip(alone * 3, together, strict=True):
        for first, second in zip(one["methods"][0]["images"], other["methods"][0]["images"], strict=True):
            assert first["score"] == pytest.approx(second["score"], abs=2e-4)
    sizes = re.findall(r'relalign_batch_queries_bucket\{le="1.0"\} ([\d.]+)', client.get("/metrics").text)
    count = re.findall(r"relalign_batch_queries_count ([\d.]+)", client.get("/metrics").text)
    assert float(sizes[0]) < float(count[0])  # some were computed together


def test_metrics_count_requests_by_route_and_queries_by_kind(client) -> None:
    client.get("/api/search?text=dog")
    client.get("/no/such/thing")
    text = client.get("/metrics").text
    assert re.search(r'relalign_requests_total\{route="/api/search",status="200"\} \d', text)
    assert 'route="other",status="404"' in text
    assert "/no/such/thing" not in text
    assert re.search(r'relalign_query_seconds_count\{kind="text"\} [1-9]', text)


def test_health_info_and_the_description_of_the_api(client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    info = client.get("/api/info").json()
    assert info["methods"] == [{"name": "contrastive", "reranks": True}, {"name": "cca", "reranks": False}]
    assert info["image_index"] == {"kind": "Flat", "rows": 8, "recall": 1.0}
    api = client.get("/openapi.json").json()
    assert {"/api/search", "/api/images/{image_id}", "/healthz", "/metrics"} <= {*api["paths"]}
    page = client.get("/api").text
    for name in ("rerank", "FoundImage", "/api/random", "curl"):
        assert name in page
    assert json.dumps(api)  # and is JSON all through
