#!/bin/sh
# model: random work on a mount against a model in memory (model.py): while it
# runs, at the next mount of the same state, from a fresh cache; then runs that
# end by kill -9, after which what was certain must be there.
# MODEL_SEED, MODEL_STEPS, MODEL_KILLS say otherwise than below.
# timeout: 300

. "$(dirname "$0")/../lib.sh"

seed=${MODEL_SEED:-$(($(date +%s) % 100000))}
steps=${MODEL_STEPS:-500}
kills=${MODEL_KILLS:-4}
model=$TOP/test/mounted/model.py

begin
export GNSFS
say "MODEL_SEED=$seed"

# A mount of its own for each seed; the second option is lived through twice.
run_seed()
{
	_url=$(store_url file "home$1")
	format_home "$_url" --name "model$1"
	start_mount "$_url" "$T/m" "cache=$T/c$1,lag=100ms,cache_size=$2"
	check "seed $1: as the model has it" \
	    timeout 200 python3 "$model" "$T/m" "$1" "$steps" "$T/dump" ||
	    { kill_mount "$T/m"; return; }
	stop_mount "$T/m"
	start_mount "$_url" "$T/m" "cache=$T/c$1,lag=100ms"
	check "seed $1: and at the next mount" \
	    python3 "$model" "$T/m" verify "$T/dump"
	stop_mount "$T/m"
	start_mount "$_url" "$T/m" "cache=$T/fresh$1,lag=100ms"
	check "seed $1: and from a fresh cache" \
	    python3 "$model" "$T/m" verify "$T/dump"
	stop_mount "$T/m"
	rm -rf "$T/c$1" "$T/fresh$1"
}

# The daemon dies in the middle, several times on one state.
run_killed()
{
	_url=$(store_url file "killed$1")
	format_home "$_url" --name "killed$1"
	_i=0
	while [ $_i -lt "$kills" ]; do
		_i=$((_i + 1))
		start_mount "$_url" "$T/m" "cache=$T/k$1,lag=100ms"
		rm -rf "$T/m/"* "$T/log"
		quiet "$GNSFS" sync "$T/m" --timeout 30s
		spawn timeout 60 python3 "$model" "$T/m" "$1$_i" 100000 \
		    "$T/dump" "$T/log" >"$T/killed.log" 2>&1
		sleep "$((1 + (_i + $1) % 4))"
		kill_mount "$T/m"
		wait $!
		start_mount "$_url" "$T/m" "cache=$T/k$1,lag=100ms"
		check "seed $1$_i: what was certain is there after kill -9" \
		    python3 "$model" "$T/m" check "$T/log"
		check "seed $1$_i: and all of it can be stored" \
		    "$GNSFS" sync "$T/m" --timeout 60s
		stop_mount "$T/m"
		start_mount "$_url" "$T/m" "cache=$T/kf$1,lag=100ms"
		check "seed $1$_i: and is there from the store" \
		    python3 "$model" "$T/m" check "$T/log"
		stop_mount "$T/m"
		rm -rf "$T/kf$1"
	done
}

run_seed "$seed" 1G
run_seed "$((seed + 1))" 16M
run_killed "$seed"
finish
