"""The study's page in headless Chromium: keys, clicks, going back, reloads, the file that raters download."""

import json

import chromium
import pytest
from test_study import NAMES, made_sets

from rgan_tf.evaluation.study import scores as study_scores
from rgan_tf.evaluation.study.pages import write_study

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium is installed")
QUESTIONS = 5


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    directory = tmp_path_factory.mktemp("study")
    write_study(made_sets(QUESTIONS), NAMES, 3, directory)
    return directory


@pytest.fixture
def browser(study, tmp_path):
    """A fresh browser with the page open; the page may not complain nor ask for anything but itself."""
    address = (study / "index.html").as_uri()
    with chromium.Chromium(tmp_path) as opened:
        opened.open(address)
        yield opened
        opened.run("0")
    assert opened.errors == [] and set(opened.requests) == {address}


def visible(browser):
    """The part of the page that is shown, and of a question its number."""
    part = browser.run("[...document.querySelectorAll('main')].filter((m) => m.offsetParent).map((m) => m.id).join()")
    if part != "asking":
        return part
    shown = "[...document.querySelectorAll('.question')].flatMap((q, i) => q.offsetParent ? [i + 1] : [])"
    (number,) = browser.run(shown)
    assert browser.run("document.getElementById('position').textContent") == f"{number} of {QUESTIONS}"
    return number


def start(browser):
    assert visible(browser) == "welcome"
    browser.click("#start")
    assert visible(browser) == 1


def test_a_rater_answers_by_keys_and_clicks(browser, study):
    start(browser)
    for number, answer in enumerate(
        [
            lambda: browser.press("ArrowLeft"),
            lambda: browser.press("j"),
            lambda: browser.click("[data-side=left]"),
            lambda: browser.press("F"),
            lambda: browser.press("ArrowRight"),
        ],
        start=1,
    ):
        assert visible(browser) == number
        answer()
    assert visible(browser) == "finished"
    browser.click("#download")
    (file,) = browser.downloaded(1)
    key = study_scores.read_key(study / "key.json")
    answers = study_scores.read_answers(file, key)
    assert answers.sides.tolist() == [0, 1, 0, 0, 1]
    assert file.name == f"answers-{key.study}-{answers.rater}.json"
    assert set(json.loads(file.read_text())) == {"study", "rater", "answers"}


def test_every_patch_is_drawn_and_in_view(browser):
    start(browser)
    pictures = "[...document.querySelectorAll('.question img')]"
    assert browser.run(f"{pictures}.every((p) => p.complete && p.naturalWidth === 8)")
    boxes = browser.run(
        f"{pictures}.filter((p) => p.offsetParent).map((p) => Object.values(p.getBoundingClientRect().toJSON()))"
    )
    assert len(boxes) == 6
    height = browser.run("innerHeight")
    assert all(box[2] > 60 and 0 <= box[1] < box[1] + box[3] <= height for box in boxes)


def test_going_back_takes_one_answer_back(browser):
    browser.press("Enter")
    browser.press("Backspace")
    assert visible(browser) == 1
    for key in ("f", "f", "j", "j", "j"):
        browser.press(key)
    assert visible(browser) == "finished"
    browser.press("j")
    browser.press("Backspace")
    assert visible(browser) == 5
    browser.click("#back")
    assert visible(browser) == 4
    browser.press("f")
    browser.press("f")
    browser.click("#download")
    answers = json.loads(browser.downloaded(1)[0].read_text())["answers"]
    assert [answer["choice"] for answer in answers] == ["left", "left", "right", "left", "left"]


def test_held_keys_and_shortcuts_are_no_answers(browser):
    browser.press("f")
    start(browser)
    browser.press("f", repeat=True)
    browser.press("ArrowLeft", modifiers=1)
    browser.press("f", modifiers=2)
    browser.press("x")
    assert visible(browser) == 1


def test_reload_resumes(browser, study):
    address = (study / "index.html").as_uri()
    start(browser)
    for key in ("f", "j"):
        browser.press(key)
    browser.open(address)
    assert visible(browser) == 3
    for key in ("j", "f", "j"):
        browser.press(key)
    browser.open(address)
    assert visible(browser) == "finished"
    browser.click("#download")
    content = json.loads(browser.downloaded(1)[0].read_text())
    assert [answer["choice"] for answer in content["answers"]] == ["left", "right", "right", "left", "right"]
    # What is left by another version or a stranger is no reason to fail.
    for junk in ("{", "null", '{"rater": "x", "answers": []}', '{"rater": "0123456789abcdef", "answers": ["up"]}'):
        browser.run(f"localStorage.setItem('patch-study-{content['study']}', {json.dumps(junk)})")
        browser.open(address)
        assert visible(browser) == "welcome"


def test_several_people_share_a_browser(browser, study):
    key = study_scores.read_key(study / "key.json")
    for person in range(2):
        start(browser)
        for _ in range(QUESTIONS):
            browser.press("fj"[person])
        assert not browser.run("document.getElementById('again').offsetParent")
        browser.click("#download")
        files = browser.downloaded(person + 1)
        browser.click("#again")
    result = study_scores.score(key, study_scores.read_all(files, key))
    assert result.raters == 2 and result.share == 0.5 and result.left_share == 0.5


def test_a_browser_that_keeps_nothing_is_said_to(study, tmp_path):
    with chromium.Chromium(tmp_path) as browser:
        refuse = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=refuse)
        browser.open((study / "index.html").as_uri())
        assert browser.run("document.getElementById('unkept').offsetHeight") > 0
        start(browser)
        browser.press("f")
        assert visible(browser) == 2


def test_policy_stops_what_is_not_the_page(study, tmp_path):
    with chromium.Chromium(tmp_path) as browser:
        browser.open((study / "index.html").as_uri())
        browser.run(
            "document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))"
        )
        assert browser.run("window.ran === undefined")
        browser.run("void fetch('https://example.com/').catch(() => { window.refused = true })")
        browser.until("window.refused")
        assert browser.errors and all("Content Security Policy" in error for error in browser.errors)
