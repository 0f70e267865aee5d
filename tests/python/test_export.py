"""The export of the decision log, opened by pyarrow, DuckDB and polars: all read the same rows, and they are those of the log.

Run by export.sh. Not here: the columns one by one (cli/tests/log.rs).
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "shadow-harness/testdata/golden_newer"
RULES = """
version = 1
[[reward]]
name = "revenue"
kind = "value"
within = "7d"
default = 0.5
"""


def augur(*line):
    done = subprocess.run([os.environ["AUGUR_BIN"], "--json", *line], capture_output=True, check=True, text=True)
    return done.stdout


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = Path(cls.folder.name) / "decisions"
        rules = Path(cls.folder.name) / "rewards.toml"
        rules.write_text(RULES)
        augur("log", "export", "--data", str(GOLDEN), "--out", str(cls.out), "--partial", "--rewards", str(rules))
        cls.stat = json.loads(augur("log", "stat", "--data", str(GOLDEN)))
        tail = augur("log", "tail", "--data", str(GOLDEN), "-n", "100000")
        cls.log = {told["decision_id"]: told for told in map(json.loads, tail.splitlines())}
        cls.glob = str(cls.out / "*/*.parquet")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def check(self, actions, rows):
        self.assertEqual(sum(actions.values()), self.stat["records"])
        self.assertEqual(actions, self.stat["actions"])
        self.assertEqual(len(rows), self.stat["records"])
        for row in rows:
            told = self.log[row["decision_id"]]
            self.assertEqual(row["action"], told["action"])
            self.assertEqual(len(row["candidates"]), len(row["candidate_probabilities"]))
            self.assertIn(row["action"], list(row["candidates"]))
            self.assertAlmostEqual(sum(row["candidate_probabilities"]), 1.0, places=9)
            self.assertIsNone(row["user_erased"], "the golden log has no feature store beside it")
            self.assertEqual(row["reward.revenue"], 0.5)
        shoes = sum(1 for row in rows if row["feature.last_category"] == "shoes")
        self.assertGreater(shoes, 10)

    def test_pyarrow(self):
        files = sorted(self.out.glob("*/*.parquet"))
        self.assertGreater(len(files), 2)
        schema = pyarrow.parquet.read_schema(files[0])
        for name in ["action", "policy_id", "decision_point"]:
            self.assertTrue(pyarrow.types.is_dictionary(schema.field(name).type), name)
        for name in ["candidates", "candidate_probabilities", "reasons"]:
            self.assertTrue(pyarrow.types.is_list(schema.field(name).type), name)
        self.assertEqual(schema.field("feature.spend_7d").type, pyarrow.float64())
        table = pyarrow.dataset.dataset(self.out, format="parquet", partitioning="hive", exclude_invalid_files=True).to_table()
        table = table.unify_dictionaries()
        days = set(table.column("day").to_pylist())
        self.assertEqual(len(days), len(list(self.out.glob("day=*"))))
        counted = table.group_by("action").aggregate([([], "count_all")]).to_pylist()
        self.check({row["action"]: row["count_all"] for row in counted}, table.to_pylist())

    def test_duckdb(self):
        source = f"read_parquet('{self.glob}', union_by_name = true)"
        actions = dict(duckdb.sql(f"select action, count(*) from {source} group by all").fetchall())
        # Instants with a zone ask for one more module in Python.
        instants = "exclude (decided_at, expires_at, holds_until)"
        answer = duckdb.sql(f"select * {instants} from {source} order by sequence")
        names = answer.columns
        self.assertIn("day", names, "days are partitions")
        self.check(actions, [dict(zip(names, row)) for row in answer.fetchall()])

    def test_polars(self):
        frame = polars.scan_parquet(self.glob, hive_partitioning=True).sort("sequence").collect()
        counted = frame.group_by(polars.col("action").cast(polars.String)).len().rows()
        self.check(dict(counted), frame.to_dicts())


if __name__ == "__main__":
    unittest.main()
