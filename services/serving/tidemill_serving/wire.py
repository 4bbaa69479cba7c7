"""The few messages of TensorFlow Serving's protocol that the agent speaks, without loading TensorFlow.

Only what the agent writes or reads is declared; numbers and types are TensorFlow Serving's (a test compares
them with the official stubs), names are our own. They live in a descriptor pool of their own, so that a
process may hold the official stubs as well. Loading those would cost the agent 4 s and 500 MB.
"""

from __future__ import annotations

from tidemill_serving.declared import Declarations, message_classes

# Maps are written as repeated entries and enumerations as int32, which is the same on the wire.
DECLARED: Declarations = {
    "INT64": {"value": (1, "int64")},
    "MODEL_SPEC": {
        "name": (1, "string"),
        "version": (2, "INT64"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "SPECIFIC": {"versions": (1, "int64*")},
    "POLICY": {"specific": (102, "SPECIFIC")},
    "LABEL": {"key": (1, "string"), "value": (2, "int64")},
    "MODEL_CONFIG": {
        "name": (1, "string"),
        "base_path": (2, "string"),
        "model_platform": (4, "string"),
        "model_version_policy": (7, "POLICY"),
        "version_labels": (8, "LABEL*"),
    },
    "MODEL_CONFIG_LIST": {"config": (1, "MODEL_CONFIG*")},
    "MODEL_SERVER_CONFIG": {"model_config_list": (1, "MODEL_CONFIG_LIST")},
    "RELOAD_REQUEST": {"config": (1, "MODEL_SERVER_CONFIG")},
    "STATUS": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "RELOAD_RESPONSE": {"status": (1, "STATUS")},
    "STATUS_REQUEST": {"model_spec": (1, "MODEL_SPEC")},
    "VERSION_STATUS": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "STATUS")},
    "STATUS_RESPONSE": {"model_version_status": (1, "VERSION_STATUS*")},
    "METADATA_REQUEST": {"model_spec": (1, "MODEL_SPEC"), "metadata_field": (2, "string*")},
    "METADATA_RESPONSE": {"model_spec": (1, "MODEL_SPEC")},
    "DIM": {"size": (1, "int64")},
    "SHAPE": {"dim": (2, "DIM*")},
    "TENSOR": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "SHAPE"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "float*"),
        "double_val": (6, "double*"),
        "int_val": (7, "int32*"),
        "string_val": (8, "bytes*"),
        "int64_val": (10, "int64*"),
        "bool_val": (11, "bool*"),
    },
    "TENSOR_ENTRY": {"key": (1, "string"), "value": (2, "TENSOR")},
    "PREDICT_REQUEST": {"model_spec": (1, "MODEL_SPEC"), "inputs": (2, "TENSOR_ENTRY*")},
    "PREDICT_RESPONSE": {"outputs": (1, "TENSOR_ENTRY*"), "model_spec": (2, "MODEL_SPEC")},
}


_CLASSES = message_classes("tidemill.serving.wire", DECLARED)
ModelSpec = _CLASSES["MODEL_SPEC"]
ReloadRequest = _CLASSES["RELOAD_REQUEST"]
ReloadResponse = _CLASSES["RELOAD_RESPONSE"]
StatusRequest = _CLASSES["STATUS_REQUEST"]
StatusResponse = _CLASSES["STATUS_RESPONSE"]
MetadataRequest = _CLASSES["METADATA_REQUEST"]
MetadataResponse = _CLASSES["METADATA_RESPONSE"]
Tensor = _CLASSES["TENSOR"]
PredictRequest = _CLASSES["PREDICT_REQUEST"]
PredictResponse = _CLASSES["PREDICT_RESPONSE"]
