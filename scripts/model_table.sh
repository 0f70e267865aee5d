#!/usr/bin/env bash
# Trains every family of models on the tables of a directory and prints the table of docs/models.md: one row per data
# set and family, measured on the rows that the data sets themselves hold back.
#
#   scripts/model_table.sh [DATA_DIR]
#
# DATA_DIR (or AUGUR_DATA) holds online_shoppers/design.csv.gz, online_retail/, cdnow/ and jdata_sample/task_*.csv.gz;
# ../shared/data beside the repository otherwise. AUGUR_BINARY names a binary that is built already. Tables that are not
# there are skipped, loudly. FAMILIES chooses families, SEARCH how widely their settings are looked for,
# as wide as `augur train` does by itself unless set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

data=${1:-${AUGUR_DATA:-../shared/data}}
augur=${AUGUR_BINARY:-target/release/augur}
families=${FAMILIES:-logistic tree forest boosted}
search=${SEARCH:+--search $SEARCH}
if [[ -z ${AUGUR_BINARY:-} ]]; then
    cargo build --release --locked --bin augur
fi

echo "| data | family | ROC-AUC | PR-AUC | log loss | Brier | ECE | seconds |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"

# The data set, then arguments of train.
row() {
    local name=$1 file=$2 family start seconds
    shift 2
    if [[ ! -f $data/$file ]]; then
        echo "SKIPPED: $name: there is no $data/$file" >&2
        return
    fi
    for family in $families; do
        start=$(date +%s.%N)
        "$augur" --json train --table "$data/$file" --label label "$@" --family "$family" $search |
            python3 -c '
import json, sys, time
name, family, start = sys.argv[1:]
test = json.load(sys.stdin)["splits"]["test"]
seconds = time.time() - float(start)
figures = [test[key] for key in ("roc_auc", "pr_auc", "log_loss", "brier", "ece")]
print("|", " | ".join([name, family] + [f"{figure:.4f}" for figure in figures] + [f"{seconds:.1f}"]), "|")
' "$name" "$family" "$start"
    done
}

months=$(zcat "$data/online_shoppers/design.csv.gz" 2>/dev/null | head -1 | tr ',' '\n' | grep '^Month=' | paste -sd, || true)
row "online shoppers, out of time" online_shoppers/design.csv.gz --split oot --ignore "row,fold,${months}"
row "online retail, purchase in 30 d" online_retail/task_repurchase30.csv.gz --split split --group user_id --ignore cutoff_ms
row "online retail, churn 60 d" online_retail/task_churn60.csv.gz --split split --group user_id --ignore cutoff_ms
row "CDNOW, churn 13 weeks" cdnow/task_churn13.csv.gz --split split --group user_id --ignore cutoff_ms
row "JData, intent in 1 h" jdata_sample/task_intent1h.csv.gz --split split --group user_id --ignore ts_ms
row "JData, intent in 24 h" jdata_sample/task_intent24h.csv.gz --split split --group user_id --ignore cutoff_ms
