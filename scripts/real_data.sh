#!/usr/bin/env bash
# End to end on real data with the release binary: import everything, train, decide for every user, replay.
#
#   scripts/real_data.sh [DATA_DIR]
#
# DATA_DIR (or AUGUR_DATA) holds jdata_sample/events.csv.gz and online_retail/events.csv.gz; ../shared/data beside the
# repository otherwise. AUGUR_BINARY names a binary that is built already. Data sets that are not there are skipped, loudly. Stored data go to a temporary directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

data=${1:-${AUGUR_DATA:-../shared/data}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

augur=${AUGUR_BINARY:-target/release/augur}
if [[ -z ${AUGUR_BINARY:-} ]]; then
    cargo build --release --locked --bin augur
fi

step() {
    local start=$SECONDS
    printf '\n$ augur %s\n' "$*"
    "$augur" "$@"
    printf '(%d s)\n' $((SECONDS - start))
}

# A first argument names the data set; the rest are arguments of import.
run() {
    local name=$1 events="$data/$1/events.csv.gz" stored="$work/$1"
    shift
    if [[ ! -f $events ]]; then
        echo "SKIPPED: $name: there is no $events"
        return
    fi
    printf '\n== %s\n' "$name"
    step import "$events" --data "$stored" --map user_id=user_id --map timestamp=ts_ms:ms --map event=event "$@"
    case $name in
        jdata_sample)
            step train --task conversion --event add_to_cart --horizon 7d --cutoffs 6 --data "$stored"
            step train --task churn --inactive 7d --cutoffs 6 --data "$stored"
            ;;
        online_retail)
            step train --task conversion --horizon 30d --active 90d --cutoffs 6 --data "$stored"
            step train --task churn --inactive 60d --active 90d --cutoffs 4 --data "$stored"
            ;;
    esac
    step features verify --sample 200 --data "$stored"
    step decide-all --point weekly_email --at end --data "$stored"
    step replay --verify --data "$stored"
}

run jdata_sample --prop item_id=item_id:text --prop brand=brand:text \
    --map-event click=view_item --map-event browse=page_view --map-event order=purchase
run online_retail --map value=value --prop item_id=item_id:text --prop order_id=order_id:text --map-event return=refund
