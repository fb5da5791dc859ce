from huggingface_hub import HfApi
from transformers.utils import hf_api

from hf_lstm.hub.uploads import IGNORED, leaving_behind


def test_more_is_left_behind_of_a_folder_but_not_of_a_checkpoint_nor_later(monkeypatch):
    uploads = []
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **options: uploads.append(options))
    folder = {"folder_path": "model"}
    checkpoint = {"folder_path": "model/checkpoint-3", "path_in_repo": "checkpoint-3"}
    with leaving_behind():
        hf_api().upload_folder(**folder, ignore_patterns=["_*"])
        hf_api().upload_folder(**checkpoint)
    hf_api().upload_folder(**folder)
    assert uploads == [folder | {"ignore_patterns": ["_*", *IGNORED]}, checkpoint, folder]
