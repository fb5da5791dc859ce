import gzip
import json
from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Raw data sets of a few rows each, in the form that prepare.py reads."""
    folder = tmp_path / "source"
    numbered = [{"text": f"film number {number}", "label": number % 2} for number in range(60)]
    files = {
        "sst/sst2.train": [{"text": "a fine film", "label": 1}, {"text": "a dull -lrb- long -rrb- film", "label": 0}],
        "sst/sst2.dev": [{"text": "warm -lrb- and funny -rrb-", "label": 1}],
        "sst/sst2.test": [{"text": "cold", "label": 0}, {"text": "odd", "label": 1}, {"text": "bold", "label": 1}],
        "sst/phrases.train": [
            {"text": "fine", "label": 4},
            {"text": "film", "label": 2},
            {"text": "dull", "label": 0},
            {"text": "rather dull", "label": 1},
            {"text": "a fine film", "label": 3},
            {"text": "Warm (and funny)", "label": 3},
            {"text": "cold", "label": 1},
        ],
        "mr/all": [row | {"fold": number % 10} for number, row in enumerate(numbered)],
        "imdb/train": [row | {"rating": 1 + 8 * int(row["label"])} for row in numbered],
        "imdb/test": numbered[:4],
        "r8/train": numbered[:40] * 2,
        "r8/test": numbered[:5],
        "tnews/train": numbered[:50],
        "tnews/dev": numbered[48:53],
        "online_shopping/train": numbered[:7],
        "online_shopping/dev": numbered[7:9],
        "online_shopping/test": numbered[9:12],
    }
    for name, rows in files.items():
        path = folder / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder
