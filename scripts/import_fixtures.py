"""Writes the models of other libraries, and what those libraries answer, that `models/src/import` is tested against.

    python3 -m venv venv && venv/bin/pip install -r models/testdata/import/requirements.txt
    venv/bin/python scripts/import_fixtures.py models/testdata/import

Rows are seeded synthetic data with missing values, zeros, tiny and huge numbers, and ties at thresholds of the very model.
Each `NAME.csv` holds a row of features, the library's margin (empty if it gives none) and its probability.
"""

import csv
import pathlib
import sys

import lightgbm
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skl2onnx import to_onnx

SEED = 20261122
NAMES = ["views_7d", "spend_30d", "recency_h", "visits", "category"]
FOLDER = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(SEED)


def table(rows, missing):
    """Columns of several kinds; the last is a category."""
    x = numpy.column_stack([
        random.poisson(3, rows).astype(float),
        numpy.where(random.random(rows) < 0.4, 0.0, random.lognormal(3, 2, rows)),
        random.exponential(100, rows),
        random.normal(0, 1, rows) * 10.0 ** random.integers(-3, 4, rows),
        random.integers(0, 45, rows).astype(float),
    ])
    margin = 0.4 * x[:, 0] - 0.3 * numpy.log1p(x[:, 1]) + (x[:, 2] < 50) + (x[:, 4] % 3 == 0) - 1
    y = (margin + random.logistic(0, 1, rows) > 0).astype(int)
    if missing:
        x[random.random(x.shape) < 0.15] = numpy.nan
    return x, y


def probes(x, thresholds, missing, single):
    """Some of the rows, and rows of borders: thresholds and their neighbours, zeros, huge and tiny numbers."""
    kind = numpy.float32 if single else numpy.float64
    rows = [row.copy() for row in x[:120]]
    special = [0.0, -0.0, 1e-35, -1e-35, 1e-36, 1e-30, -1e-30, 1e300, -1e300, 1e9, -1.0, -0.5, 0.5, 2.0**31, 44.0, 44.9]
    if single:
        special = [value for value in special if abs(value) < 1e38]
    for at in range(x.shape[1]):
        own = sorted(value for value in set(thresholds.get(at, [])) if numpy.isfinite(value))
        for threshold in own[:: max(1, len(own) // 12)]:
            threshold = kind(threshold)
            up, down = numpy.nextafter(threshold, kind(numpy.inf)), numpy.nextafter(threshold, kind(-numpy.inf))
            for value in [threshold, up, down, *([] if single else [float(numpy.float32(threshold))])]:
                row = x[(at * 7 + len(rows)) % len(x)].copy()
                row[at] = value
                rows.append(row)
        for value in special + ([numpy.nan] if missing else []):
            row = x[(at * 11 + len(rows)) % len(x)].copy()
            row[at] = value
            rows.append(row)
    if missing:
        rows.append(numpy.full(x.shape[1], numpy.nan))
    return numpy.array(rows)


def write(name, rows, margins, probabilities):
    with open(FOLDER / f"{name}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*NAMES[: rows.shape[1]], "margin", "probability"])
        for row, margin, probability in zip(rows, margins, probabilities):
            numbers = ["" if numpy.isnan(value) else repr(float(value)) for value in row]
            out.writerow([*numbers, "" if margin is None else repr(float(margin)), repr(float(probability))])


def lightgbm_model(name, parameters, missing=True, categorical=False):
    x, y = table(3000, missing)
    data = lightgbm.Dataset(x, y, feature_name=NAMES, categorical_feature=[4] if categorical else "auto")
    base = dict(objective="binary", verbose=-1, num_threads=1, deterministic=True, seed=SEED, num_leaves=12)
    model = lightgbm.train({**base, **parameters}, data, 20)
    model.save_model(FOLDER / f"{name}.txt")
    model = lightgbm.Booster(model_file=FOLDER / f"{name}.txt")
    thresholds = {}
    for tree in model.dump_model()["tree_info"]:
        nodes = [tree["tree_structure"]]
        while nodes:
            node = nodes.pop()
            if "threshold" in node:
                if node["decision_type"] == "<=":
                    thresholds.setdefault(node["split_feature"], []).append(node["threshold"])
                nodes += [node["left_child"], node["right_child"]]
    rows = probes(x, thresholds, True, False)
    write(name, rows, model.predict(rows, raw_score=True), model.predict(rows))


def onnx_model(name, model, rows):
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    column = len(session.get_outputs()) - 1
    fed = {session.get_inputs()[0].name: rows.astype(numpy.float32)}
    told = session.run(None, fed)[column]
    probabilities = [row[1] if isinstance(row, dict) else row[-1] for row in told]
    # Features are doubles when served: those given are not rounded to single precision yet.
    write(name, rows, [None] * len(rows), probabilities)


def thresholds_of(model):
    found = {}
    for node in model.graph.node:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for at, value, mode in zip(*(values.get(f"nodes_{of}", []) for of in ("featureids", "values", "modes"))):
            if mode != b"LEAF":
                found.setdefault(at, []).append(value)
    return found


def fitted(name, model, missing, columns=5, **options):
    x, y = table(2000, missing)
    x = x[:, :columns]
    model.fit(x.astype(numpy.float32), y)
    converted = to_onnx(model, x[:1].astype(numpy.float32), **options)
    onnx_model(name, converted, probes(x, thresholds_of(converted), missing, True))


def crafted(name):
    """Every mode, tracked missing values, a falling Scaler, an Imputer, a regressor with a Sigmoid."""
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
    lists = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
                                 "missing_value_tracks_true")}
    targets = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree, mode in enumerate(modes * 4):
        feature = tree % 5
        for node in range(3):
            inner = node == 0
            entries = (tree, node, feature if inner else 0, mode if inner else "LEAF",
                       float(tree // 6 - 1) if inner else 0.0, 1 if inner else 0, 2 if inner else 0,
                       int(inner and tree // 6 % 2))
            for key, entry in zip(lists, entries):
                lists[key].append(entry)
            if not inner:
                for key, entry in zip(targets, (tree, node, 0, (node * 2 - 3) * 0.01 * (tree + 1))):
                    targets[key].append(entry)
    attributes = {f"nodes_{key}": value for key, value in lists.items()}
    attributes.update({f"target_{key}": value for key, value in targets.items()})
    nodes = [
        helper.make_node("Scaler", ["X"], ["scaled"], domain="ai.onnx.ml", offset=[1.0, 0.0, 3.0, 0.5, 20.0],
                         scale=[0.5, -0.25, 0.1, -1.5, 1.0]),
        helper.make_node("TreeEnsembleRegressor", ["scaled"], ["margin"], domain="ai.onnx.ml", n_targets=1,
                         base_values=[0.125], **attributes),
        helper.make_node("Sigmoid", ["margin"], ["probability"]),
    ]
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 5])],
                              [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])])
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    x, _ = table(400, True)
    scaled = {0: [-1.0, 1.0, 3.0], 1: [4.0, 0.0, -4.0], 2: [-7.0, 3.0, 13.0, 23.0], 3: [0.5, -0.5], 4: [19.0, 20.0, 22.0]}
    onnx_model(name, model, probes(x, scaled, True, True))


# skl2onnx 1.20 hands numpy booleans to onnx, which takes integers only.
make_node = helper.make_node
helper.make_node = lambda *a, **k: make_node(*a, **{
    key: [int(v) for v in value] if isinstance(value, list) and value and isinstance(value[0], (bool, numpy.bool_, numpy.integer)) else value
    for key, value in k.items()})
import skl2onnx.common._container  # noqa: E402
skl2onnx.common._container.make_node = helper.make_node

lightgbm_model("lightgbm-binary", {})
lightgbm_model("lightgbm-no-missing", {"use_missing": False, "sigmoid": 1.7})
lightgbm_model("lightgbm-zero-missing", {"zero_as_missing": True})
lightgbm_model("lightgbm-categorical", {"max_cat_to_onehot": 1}, categorical=True)
lightgbm_model("lightgbm-forest", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7})
lightgbm_model("lightgbm-cross-entropy", {"objective": "cross_entropy", "boosting": "dart"}, missing=False)
fitted("onnx-logistic", make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()), True)
fitted("onnx-forest", RandomForestClassifier(30, max_depth=6, random_state=SEED), False)
fitted("onnx-boosted", GradientBoostingClassifier(n_estimators=40, random_state=SEED), False, options={"zipmap": False})
fitted("onnx-imputed-boosted", make_pipeline(SimpleImputer(), StandardScaler(), GradientBoostingClassifier(
    n_estimators=20, max_depth=2, random_state=SEED)), True)
fitted("onnx-histogram-boosted", HistGradientBoostingClassifier(max_iter=20, random_state=SEED), True)
crafted("onnx-crafted")
for file in sorted(FOLDER.iterdir()):
    assert file.stat().st_size < 200_000, f"{file} is too large"
