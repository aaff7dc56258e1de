/*
 * pins_impl: what pins.c (the pins and their thread) and pins_fill.c (many
 * files at once) share.
 */
#ifndef FS_PINS_IMPL_H
#define FS_PINS_IMPL_H

#include "base/workers.h"
#include "fs/pin_text.h"
#include "fs/pins_rows.h"

#define PIN_THREADS	16
#define PIN_BATCH	4096
#define PIN_BYTES	(128u << 20)	/* most bytes of files in flight, one
					   larger file apart */

/* A run over many files: each is filled, at most PIN_THREADS at once. */
struct fill_many {
	struct fs		*f;
	struct workers		*pool;
	enum work_prio		 prio;
	bool			 verify;
	const struct pin_list	*list;
	uint64_t		 want;		/* bytes in all, for progress */
	_Atomic bool		*stop;		/* ends it early; borrowed */
	bool			 gives_way;	/* to changes of pins */
	pins_progress		*progress;	/* may be NULL */
	void			*arg;
	_Atomic int64_t		*arrived;	/* also told; may be NULL */
};
/* Goes on past files that fail; the first failure is the result, with why.
 * -ECANCELED: progress or stop said so. */
int	fill_many(struct fill_many *m, struct why *why);

/*
 * One pin as this process knows it, beside its row.  The thread alone frees
 * it, at the beginning of a pass, where it has no row and no waiter: till then
 * a pin that was dropped has edited and stop set, so that nothing is fetched
 * for it, nor pinned by a pass that began before.
 */
struct pin {
	struct pin	*next;
	uint64_t	 id;
	unsigned	 waiters;	/* who fills it himself: --wait */
	bool		 edited;	/* since the thread's pass began */
	_Atomic bool	 stop;		/* ends its fill by the thread, and
					   there is none till the next pass */
	_Atomic int64_t	 arrived;	/* bytes since began */
	int64_t		 began;		/* clock_mono of the present fill; 0 */
	int64_t		 retry_at;	/* clock_mono; 0 now */
	int64_t		 pause;
	struct why	 why;		/* what it waits for */
	/* The thread's: its round of what is missing, a batch after another */
	uint64_t	 after;		/* up to which file it has come; 0 */
	int		 err;		/* the first in this round */
	struct why	 err_why;
};

struct pins {
	struct fs	*f;
	struct workers	*pool;
	pthread_t	 thread;
	_Atomic bool	 stopping;
	char		 host[65];
	int64_t		 expiry;	/* the thread's: the next one's */
	int64_t		 waited;	/* the thread's: for turns, in a pass */
	_Atomic uint64_t batch;		/* files that it fills in one go */
	struct lock	 lock;		/* what follows */
	struct cond	 cond;
	uint64_t	 turns;		/* one change of pins at a time, in */
	uint64_t	 serving;	/* the order that they were asked for */
	bool		 stale;		/* membership must be looked at */
	bool		 kicked;	/* there may be something to fill */
	struct pin	*list;
};

/* --- pins_thread.c --- */
void	*pins_main(void *pins);
/* The pin of this id, made if need be (NULL: no memory).  Under p->lock. */
struct pin *pins_of(struct pins *p, uint64_t id);
/* The same, never made: NULL. */
struct pin *pins_find(struct pins *p, uint64_t id);
/* One change of pins at a time, in the order that they are asked for.  The
 * thread's pass over all pins takes a turn for each STEP of files, so that who
 * changes a pin never waits for more than that.  The end wakes the thread. */
void	pins_edit_begin(struct pins *p);
void	pins_edit_end(struct pins *p);
/* Until nobody changes pins or waits to, at most till deadline (clock_mono):
 * false. */
bool	pins_wait_edits(struct pins *p, int64_t deadline);
/* Makes the cache hold for this pin what its text says now, in an edit.
 * must_exist: a path that does not is -ENOENT.  retlist, may be NULL: all of
 * them. */
int	pins_renew(struct pins *p, const struct pin_copy *row,
	    bool must_exist, struct pin_list *retlist, struct why *why);
/* What a pin waits for, and till when it is left alone; err 0: nothing. */
void	pins_note_why(struct pins *p, uint64_t id, int err,
	    const struct why *why);
/* The thread's pass: drops what expired and what the cache keeps for pins that
 * are no more, renews the others.  What failed as a whole is tried again in
 * the next, which is due then. */
void	pins_sweep(struct pins *p);
/* For cache_pin_each: into the pin_list arg. */
int	pins_collect(void *arg, uint64_t ino, uint64_t size);

/* --- pins.c --- */
bool	pins_is_mine(const struct pins *p, const struct pin_copy *r);
/* Row, reservation and all, in an edit or a turn of the pass.  Where it fails
 * the row is there, and the next pass makes the pin whole again. */
int	pins_drop(struct pins *p, const struct pin_copy *row);

#endif
