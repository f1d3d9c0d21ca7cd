"""What is new in an archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from segqa_dicom.archive import Instance, Series
from segqa_dicom.archive.feed import Feed, News, OrthancFeed, QidoFeed, feed_for
from segqa_dicom.errors import ConfigurationError, PeerRefused, PeerUnavailable
from tests.archive.objects import SERIES, STUDY, ct, encoded, instance, outgoing
from tests.archive.web import archive, series, sr
from tests.servers.orthanc import PASSWORD, USER, Orthanc
from tests.servers.process import free_port, wait_until
from tests.servers.proxy import Fault, Proxy

pytestmark = pytest.mark.servers


def all_news(feed: Feed, cursor: str = "", limit: int = 3) -> Iterator[News]:
    while True:
        news = feed.news(cursor, limit)
        yield news
        cursor = news.cursor
        if news.done:
            return


def told(feed: Feed, cursor: str = "", limit: int = 3) -> tuple[list[Instance], str]:
    news = list(all_news(feed, cursor, limit))
    return [one for each in news for one in each.instances], news[-1].cursor


def test_orthanc_tells_each_new_instance_once(orthanc: Orthanc) -> None:
    feed = OrthancFeed(orthanc.url)
    assert feed.news("", 10).instances == ()
    objects = [*series(7), outgoing(sr()), outgoing(ct(1, study=f"{STUDY}.7", series=f"{SERIES}.7"))]
    archive(orthanc).store(objects)
    instances, cursor = told(feed)
    assert len(instances) == len(objects)
    assert set(instances) == {one.instance for one in objects}
    assert told(feed, cursor) == ([], feed.news(cursor, 5).cursor)
    archive(orthanc).store([outgoing(ct(8))])
    assert told(feed, cursor)[0] == [instance(ct(8))]
    assert set(told(OrthancFeed(orthanc.url), limit=1000)[0]) >= {one.instance for one in objects}


def test_series_of_several_classes_are_told_with_the_class_of_each_instance(orthanc: Orthanc) -> None:
    mixed = [outgoing(ct(1)), outgoing(sr(2, SeriesInstanceUID=SERIES)), outgoing(ct(3))]
    archive(orthanc).store(mixed)
    assert set(told(OrthancFeed(orthanc.url), limit=1)[0]) == {one.instance for one in mixed}


def test_stable_series_are_a_hint(orthanc: Orthanc) -> None:
    feed = OrthancFeed(orthanc.url)
    archive(orthanc).store(series(2))
    _, cursor = told(feed)
    archive(orthanc).store([outgoing(ct(3))])
    wait_until(lambda: any(one["ChangeType"] == "StableSeries" for one in orthanc.get("/changes")["Changes"]))
    touched = [one for news in all_news(feed, cursor) for one in news.touched_series]
    assert touched == [Series(STUDY, SERIES, "CT", 3)]


def test_what_was_deleted_or_has_no_valid_uid_is_left_out(orthanc: Orthanc) -> None:
    archive(orthanc).store(series(3))
    orthanc.upload(encoded(ct(9, SOPInstanceUID="../../escaped")))
    feed = OrthancFeed(orthanc.url)
    first = feed.news("", 4)
    orthanc.delete(f"/instances/{orthanc.get('/changes?since=0&limit=1')['Changes'][0]['ID']}")
    assert len(told(feed)[0]) == 2
    (patient,) = orthanc.get("/patients")
    orthanc.delete(f"/patients/{patient}")
    assert told(feed, first.cursor)[0] == []
    archive(orthanc).store([outgoing(ct(5))])
    assert told(feed, first.cursor)[0] == [instance(ct(5))]


def test_orthanc_that_was_killed_has_forgotten_nothing(orthanc: Orthanc) -> None:
    feed = OrthancFeed(orthanc.url)
    archive(orthanc).store(series(4))
    cursor = feed.news("", 2).cursor
    before = feed.news("", 2).instances
    orthanc.kill()
    with pytest.raises(PeerUnavailable):
        feed.news(cursor, 2)
    orthanc.start()
    assert {*before, *told(feed, cursor)[0]} == {one.instance for one in series(4)}


@pytest.mark.parametrize("count", [1, 20], ids=["fewer changes than before", "more"])
def test_orthanc_that_was_set_up_anew_is_read_from_the_beginning(tmp_path: Path, count: int) -> None:
    with Orthanc(tmp_path / "first") as server:
        archive(server).store(series(8))
        _, cursor = told(OrthancFeed(server.url))
    with Orthanc(tmp_path / "second", http_port=server.http_port) as other:
        archive(other).store(objects := [outgoing(ct(number, series=f"{SERIES}.5")) for number in range(1, count + 1)])
        assert set(told(OrthancFeed(other.url), cursor)[0]) == {one.instance for one in objects}


@pytest.mark.parametrize("cursor", ["rubbish", "{}", "-3", ":", "1e3:x"])
def test_cursor_that_is_none_begins_from_the_beginning(orthanc: Orthanc, cursor: str) -> None:
    archive(orthanc).store(series(2))
    assert len(told(OrthancFeed(orthanc.url), cursor)[0]) == 2
    assert len(QidoFeed(archive(orthanc)).news(cursor, 5).touched_series) == 1


def test_few_requests_tell_many_instances(orthanc: Orthanc) -> None:
    archive(orthanc).store(series(200))
    with Proxy(orthanc.url) as proxy:
        news = OrthancFeed(proxy.url).news("", 1000)
        assert len(news.instances) == 200
        assert news.done
        assert len(proxy.exchanges) <= 4


def test_series_are_told_when_they_are_new_or_grow(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    feed = QidoFeed(there)
    assert feed.news("", 5) == News((), (), "{}", done=True)
    there.store([*series(2), outgoing(sr()), outgoing(ct(1, study=f"{STUDY}.7", series=f"{SERIES}.7"))])
    first = feed.news("", 2)
    assert not first.done
    second = feed.news(first.cursor, 2)
    assert second.done
    assert {one.series_instance_uid for one in (*first.touched_series, *second.touched_series)} == {
        SERIES,
        f"{SERIES}.7",
        sr().SeriesInstanceUID,
    }
    assert feed.news(second.cursor, 2) == News((), (), second.cursor, done=True)
    there.store([outgoing(ct(3))])
    third = feed.news(second.cursor, 2)
    assert third.touched_series == (Series(STUDY, SERIES, "CT", 3),)
    (patient,) = orthanc.get("/patients")
    orthanc.delete(f"/patients/{patient}")
    last = feed.news(third.cursor, 2)
    assert (last.touched_series, json.loads(last.cursor)) == ((), {})


def test_feed_that_fits_the_archive_is_found(orthanc: Orthanc) -> None:
    for url in (orthanc.dicomweb_url, f"{orthanc.dicomweb_url}/"):
        assert isinstance(feed_for(url), OrthancFeed)
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(
            lambda one: one.path.startswith("/system"),
            Fault(answer=(200, b"<html/>"), content_type="text/html"),
            times=1,
        )
        assert isinstance(feed_for(proxy.url), QidoFeed)
        proxy.script(lambda one: not one.path.startswith("/dicom-web"), Fault(answer=(403, b"")))
        feed = feed_for(proxy.url)
        assert isinstance(feed, QidoFeed)
        archive(orthanc).store(series(1))
        assert len(feed.news("", 5).touched_series) == 1


def test_feed_of_a_server_that_is_down_or_turns_one_away(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable):
        feed_for(f"http://127.0.0.1:{free_port()}/dicom-web")
    with pytest.raises(ConfigurationError):
        feed_for("nowhere")
    with Orthanc(tmp_path / "orthanc", authentication=True) as server:
        assert isinstance(feed_for(server.dicomweb_url, user=USER, password=PASSWORD), OrthancFeed)
        with pytest.raises(PeerRefused, match="SEGQA_ARCHIVE_USER"):
            OrthancFeed(server.url).news("", 1)
        with pytest.raises(PeerRefused, match="SEGQA_ARCHIVE_USER"):
            feed_for(server.dicomweb_url).news("", 1)


def test_what_is_no_orthanc_is_refused() -> None:
    with Proxy("http://127.0.0.1:9") as proxy:
        for answer in (b"[]", b"{}", b"no json"):
            proxy.script(lambda one: True, Fault(answer=(200, answer)), times=1)
            with pytest.raises(PeerRefused):
                OrthancFeed(proxy.url).news("", 1)
