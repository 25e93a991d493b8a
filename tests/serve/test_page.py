"""The page in a real browser: what a person types, drops and presses, and what they then see."""

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (requirements/dev.in)")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from relalign.serve.app import create_app
from relalign.serve.protection import LOOPBACK
from relalign.serve.service import Service
from tests.serve.browser import CHROMIUM, DRIVER, chromium, serving
from tests.serve.served_project import METHODS, SCRIPT

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="there is no chromium with its driver here: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def address(service: Service):
    with serving(create_app(service, hosts=LOOPBACK)) as address:
        yield address


@pytest.fixture(scope="module")
def opened():
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(opened, address: str):
    """The page, freshly opened; afterwards nothing may have been refused by its security policy."""
    opened.get(address)
    yield opened
    refused = [entry["message"] for entry in opened.get_log("browser") if "status of 4" not in entry["message"]]
    assert refused == []


def all_of(browser, selector: str) -> list:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def one(browser, selector: str):
    return browser.find_element(By.CSS_SELECTOR, selector)


def wait(browser, condition):
    return WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda _: condition())


def answered(browser, kind: str) -> None:
    """Wait for the answer to a query of this kind."""
    wait(browser, lambda: one(browser, "#status").text.startswith(f"{kind} query"))
    wait(browser, lambda: not all_of(browser, "#results[aria-busy]"))


def search(browser, text: str) -> None:
    field = one(browser, "#text")
    field.clear()
    field.send_keys(text, Keys.ENTER)
    answered(browser, "Text")


def test_a_text_is_answered_by_two_methods_side_by_side(browser) -> None:
    search(browser, "a red dog")
    columns = all_of(browser, ".method")
    assert [one(column, "h2").text for column in columns] == [*METHODS]
    assert columns[0].location["y"] == columns[1].location["y"]
    for column in columns:
        assert len(all_of(column, ".tile")) == 8
        assert len(all_of(column, ".line")) == 12
        assert "ms" in one(column, "header p").text
    assert "text=a+red+dog&method=contrastive&method=cca" in browser.current_url
    assert not one(browser, "#welcome").is_displayed()


def test_pictures_of_answers_are_seen(browser) -> None:
    search(browser, "a red dog")
    script = "return [...document.querySelectorAll('.tile img')].every(i => i.complete && i.naturalWidth > 0)"
    wait(browser, lambda: browser.execute_script(script))


def test_an_image_is_searched_for_alone_then_with_a_text_and_taken_away_again(browser, service) -> None:
    path = service.collection.file(max(service.collection.paths))
    one(browser, "#file").send_keys(str(path))
    answered(browser, "Image")
    assert one(browser, ".tile .score").text == "1.000"
    assert one(browser, "#given-image").get_attribute("src").startswith("blob:")
    one(browser, "#text").send_keys("red", Keys.ENTER)
    answered(browser, "Text and image")
    assert one(browser, "#mix-row").is_displayed()
    one(browser, "#mix").send_keys(Keys.END)
    wait(browser, lambda: "mix=1" in browser.current_url)
    assert one(browser, "#mix-value").text == "0 % image, 100 % text"
    one(browser, "#drop-image").click()
    answered(browser, "Text")
    browser.back()
    answered(browser, "Text and image")


def test_a_dropped_image_is_searched_for(browser) -> None:
    browser.execute_script("""
        const canvas = document.createElement("canvas");
        canvas.toBlob((blob) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([blob], "drawn.png", { type: "image/png" }));
          for (const name of ["dragenter", "drop"])
            document.body.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true }));
        });""")
    answered(browser, "Image")


def test_a_random_caption_has_its_right_answers_ticked(browser, service) -> None:
    one(browser, "#random-text").click()
    answered(browser, "Text")
    caption = int(browser.current_url.partition("caption=")[2].partition("&")[0])
    assert one(browser, "#text").get_attribute("value") == " ".join(service.collection.captions[caption].split())
    for column in all_of(browser, ".method"):
        ticked = all_of(column, ".tile.right")
        assert [tile.get_attribute("href").split("image=")[1].split("&")[0] for tile in ticked] == [
            str(service.collection.image_of[caption])
        ]
        assert "right answer" in ticked[0].get_attribute("aria-label")
        assert "first right answer" in one(column, "h3").text


def test_re_ranking_methods_and_kinds_are_chosen_and_a_link_shows_what_was_seen(browser, address, service) -> None:
    image = min(service.collection.paths)
    browser.get(f"{address}/?image={image}&method=contrastive&show=texts&top=6&rerank=true")
    answered(browser, "Image")
    assert [one(column, "h2").text for column in all_of(browser, ".method")] == ["contrastive"]
    assert one(browser, ".badge").text == "re-ranked"
    assert (len(all_of(browser, ".method .tile")), len(all_of(browser, ".method .line"))) == (0, 6)
    one(browser, "input[value=cca] + span").click()
    wait(browser, lambda: len(all_of(browser, ".method")) == 2)
    assert "cca has no fusion encoder" in one(browser, ".note").text
    seen = "return document.querySelector('#results').innerText.replace(/[\\d.]+ ms/g, '')"
    before = browser.execute_script(seen)
    browser.refresh()
    answered(browser, "Image")
    assert browser.execute_script(seen) == before


def test_an_answer_is_the_next_question_and_back_goes_back(browser) -> None:
    search(browser, "a red dog")
    first = one(browser, ".tile")
    image = first.get_attribute("href").split("image=")[1].split("&")[0]
    first.click()
    answered(browser, "Image")
    assert f"image={image}" in browser.current_url
    assert one(browser, "#text").get_attribute("value") == ""
    browser.back()
    answered(browser, "Text")
    assert one(browser, "#text").get_attribute("value") == "a red dog"


def test_what_goes_wrong_is_a_sentence_and_the_next_search_goes_right(browser, address, tmp_path) -> None:
    browser.get(f"{address}/?image=1")
    wait(browser, lambda: one(browser, "#failure").text == "The test split of openmoji has no image with id 1.")
    browser.get(address)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    one(browser, "#file").send_keys(str(bad))
    wait(browser, lambda: "no image that can be read" in one(browser, "#failure").text)
    assert all_of(browser, ".method") == []
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    one(browser, "#file").send_keys(str(text))
    wait(browser, lambda: one(browser, "#failure").text == "“notes.txt” is no image.")
    one(browser, "#drop-image").click()
    search(browser, "a red dog")
    assert not one(browser, "#failure").is_displayed()


def test_a_caption_that_is_a_script_stays_text(browser, address, service) -> None:
    caption = next(id_ for id_, text in service.collection.captions.items() if text == SCRIPT)
    image = service.collection.image_of[caption]
    for query in (f"caption={caption}", f"image={image}", f"text={SCRIPT}"):
        browser.get(f"{address}/?{query}&top=48")
        wait(browser, lambda: all_of(browser, ".line"))
        assert len(all_of(browser, "script")) == 1
        assert all_of(browser, "img[onerror]") == []
        assert browser.title != "taken"
    assert SCRIPT in [line.text for line in all_of(browser, ".line .caption")]


def test_everything_can_be_done_from_the_keyboard(browser) -> None:
    browser.execute_script("document.activeElement.blur()")
    one(browser, "body").send_keys("/")
    assert browser.switch_to.active_element.get_attribute("id") == "text"
    browser.switch_to.active_element.send_keys("a red dog", Keys.ENTER)
    answered(browser, "Text")
    browser.execute_script("document.querySelector('.tile').focus()")
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element.get_attribute("aria-label").startswith("2. ")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert not browser.switch_to.active_element.get_attribute("aria-label").startswith(("1. ", "2. "))
    browser.switch_to.active_element.send_keys("2")
    wait(browser, lambda: len(all_of(browser, ".method")) == 1)
    browser.switch_to.active_element.send_keys("i")
    answered(browser, "Image")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait(browser, lambda: one(browser, "#welcome").is_displayed())


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_text_has_contrast(address, service, dark) -> None:
    caption = next(id_ for id_, text in service.collection.captions.items() if text == SCRIPT)
    with chromium(width=390, height=844, dark=dark) as phone:
        for page in ("/", f"/?caption={caption}&rerank=true", "/?text=red&image=1", "/api"):
            phone.get(address + page)
            if "caption" in page:
                answered(phone, "Text")
            width, whole = phone.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
            assert (width, whole) == (390, 390), page
            assert phone.execute_script(CONTRAST) == [], page


# Texts whose colour stands out from what is behind it by less than WCAG's 4.5 : 1.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const seen = (colours) => {  // one colour over the other
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const linear = (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const weights = [.2126, .7152, .0722];
const light = (colour) => colour.reduce((sum, value, i) => sum + linear(value / 255) * weights[i], .05);
const low = [];
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility() || element.closest(".hidden, .skip, option")) continue;
  const behind = [];
  for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
  const both = [light(seen([...behind, getComputedStyle(element).color])), light(seen(behind))];
  if (Math.max(...both) / Math.min(...both) < 4.5) low.push(element.outerHTML.slice(0, 80));
}
return low;
"""
