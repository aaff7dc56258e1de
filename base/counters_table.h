/* The table of base/counters.h.  Add a row; status shows it. */
#ifndef BASE_COUNTERS_TABLE_H
#define BASE_COUNTERS_TABLE_H

#define COUNTERS(X) \
	X(store_requests, "requests", COUNT, "requests sent to stores") \
	X(store_retries, "requests", COUNT, "requests sent again") \
	X(store_errors, "requests", COUNT, "requests that failed for good") \
	X(store_bytes_in, "bytes", COUNT, "bytes fetched from stores") \
	X(store_bytes_out, "bytes", COUNT, "bytes sent to stores") \
	X(ops_journalled, "ops", COUNT, "changes journalled") \
	X(ops_pending, "ops", GAUGE, "changes not yet in the log") \
	X(segments_landed, "segments", COUNT, "log segments that landed") \
	X(segments_lost, "segments", COUNT, "log slots others took first") \
	X(snapshots_written, "snapshots", COUNT, "snapshots written") \
	X(packs_written, "packs", COUNT, "packs of small files uploaded") \
	X(uploads_done, "uploads", COUNT, "large files uploaded") \
	X(uploads_thrown, "uploads", COUNT, "uploads thrown away (B8)") \
	X(bytes_dirty, "bytes", GAUGE, "bytes that exist only on this host") \
	X(fill_bytes, "bytes", COUNT, "bytes filled into the cache") \
	X(fills_whole, "files", COUNT, \
	    "files fetched whole, for readers that jump or a policy") \
	X(reads_elsewhere, "requests", COUNT, "fetches that another store " \
	    "than the first answered") \
	X(bytes_wrong, "fetches", COUNT, "fetches whose bytes were not what " \
	    "was stored") \
	X(stage_relayed, "bytes", COUNT, "bytes staged through this host") \
	X(stage_copied, "bytes", COUNT, "bytes that stores copied " \
	    "themselves") \
	X(fill_waits, "reads", COUNT, "reads that waited for a fill") \
	X(opens_passed, "opens", COUNT, "opens handed a backing file") \
	X(opens_seen, "opens", COUNT, "opens to write to such a file " \
	    "through the daemon") \
	X(opens_fed, "opens", COUNT, "opens of small files that came with " \
	    "their bytes") \
	X(inodes_in_core, "inodes", GAUGE, "inodes that are open or in use") \
	X(cache_hits, "reads", COUNT, "reads answered from this host") \
	X(evicted_bytes, "bytes", COUNT, "bytes evicted") \
	X(checksum_errors, "chunks", COUNT, "chunks found damaged on disk") \
	X(fuse_requests, "requests", COUNT, "requests from the kernel")

#endif
