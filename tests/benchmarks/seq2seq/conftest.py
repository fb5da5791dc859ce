import gzip
import json
from pathlib import Path

import pytest

MULTI30K_ROWS = {"train": 7, "val": 3, "test_2016_flickr": 2, "test_2017_flickr": 4, "test_2017_mscoco": 1}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Raw data sets of a few rows each, in the form that prepare.py reads."""
    folder = tmp_path / "source"
    files: dict[str, list[str]] = {}
    for name, count in MULTI30K_ROWS.items():
        files[f"multi30k/{name}.de"] = [f"Satz {number} aus {name}\u2028." for number in range(count)]
        files[f"multi30k/{name}.en"] = [f"Sentence {number} of {name}." for number in range(count)]
    files["multi30k/val.de"][1] = files["multi30k/train.de"][4].upper()
    tatoeba = {
        "train": [("Hi.", "嗨。"), ("Hi.", "你好。"), ("Run!", "跑")],
        "dev": [("Stop!", "住手")],
        "test": [("Hello.", "你好。"), ("Go on.", "继续。")],
    }
    files |= {f"tatoeba_cmn_en/{split}.jsonl": dump("en", "zh", rows) for split, rows in tatoeba.items()}
    emails = [(f"Dear all,\nreport {number}.", f"Report {number}") for number in range(5)]
    files["aeslc/train.jsonl"] = dump("text", "summary", emails)
    for split, rows in {
        "dev": emails[:1],
        "test": [*emails[2:4], ("A new one.", "New"), ("A new one.", "New")],
    }.items():
        annotated = [json.loads(row) | {"annotations": ["x y", "x", "z"]} for row in dump("text", "summary", rows)]
        files[f"aeslc/{split}.jsonl"] = [json.dumps(row) for row in annotated]
    for split, count in {"train": 4, "dev": 2, "test": 3}.items():
        titles = [(f"针对{split}的问题{number}。", f"{split}研究{number}") for number in range(count)]
        files[f"csl/title.{split}.jsonl"] = dump("text", "summary", titles)
    others = ["乡村旅游的发展", "TEST 研究2", "谣言述评"]  # the second is a test title except for case and white space
    files["csl/field.train.jsonl"] = [json.dumps({"text": title, "label": 3}) for title in others]
    for name, lines in files.items():
        path = folder / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    return folder


def dump(first: str, second: str, rows: list[tuple[str, str]]) -> list[str]:
    return [json.dumps({first: one, second: other}, ensure_ascii=False) for one, other in rows]
