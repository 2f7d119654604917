package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// The settings of River's own benchmark (`river bench`), except for the cooldown, which is River's
// minimum, and the number of connections, for which it has no setting; more are slower here.
const (
	riverCooldown = time.Millisecond
	riverPoll     = 20 * time.Millisecond
	riverWorkers  = 2000
	riverConns    = 32
)

// A way is a way to use River. Which is fastest depends on the number of callers, so all are measured.
type way struct {
	// grouped callers pass their jobs to one goroutine, which inserts all that are waiting
	// (InsertMany). Otherwise each caller inserts its own. River itself doesn't group.
	grouped bool
	// ends is how a caller learns of the end.
	ends end
}

type end int

const (
	// byEvent: from a subscription, which reports the end once the completer has recorded it. The
	// completer works in batches: of 100 or more every 50 ms, of fewer every 250 ms.
	byEvent end = iota
	// byWorker: from the worker, which records the end in a transaction of its own (JobCompleteTx).
	byWorker
	// nobodyWaits: not at all. Callers start one job after the other, each with a key of its own, and
	// the round is over when the subscription has reported all ends. So more jobs than callers are
	// under way.
	nobodyWaits
)

func (w way) String() string {
	insert := "alone"
	if w.grouped {
		insert = "grouped"
	}
	return insert + ", " + [...]string{"event", "worker", "unawaited"}[w.ends]
}

// A queue is River, used in one way.
type queue struct {
	way    way
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]

	inserts chan *insertion
	waiting sync.Map      // key -> chan struct{}, closed at the end
	ended   atomic.Uint64 // known to be on disk
	served  sync.WaitGroup
}

// lifecycleArgs are a job's arguments: the key, which is unique until the job has ended.
type lifecycleArgs struct {
	Key string `json:"key"`
}

func (lifecycleArgs) Kind() string { return "lifecycle" }

func (lifecycleArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
}

// openRiver creates River's tables in a database and starts it.
func openRiver(b *testing.B, dsn string, w way) *queue {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = riverConns
	q := &queue{way: w, inserts: make(chan *insertion, 1024)}
	if q.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(riverpgxv5.New(q.pool), &rivermigrate.Config{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		b.Fatal(err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(q.work))
	q.client, err = river.NewClient(riverpgxv5.New(q.pool), &river.Config{
		FetchCooldown: riverCooldown, FetchPollInterval: riverPoll, JobTimeout: -1, Logger: quiet, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
	})
	if err != nil {
		b.Fatal(err)
	}
	events, _ := q.client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 100_000, Kinds: []river.EventKind{river.EventKindJobCompleted},
	})
	if err := q.client.Start(ctx); err != nil {
		b.Fatal(err)
	}
	q.served.Go(func() { q.hear(events) })
	q.served.Go(q.insertLoop)
	return q
}

func (q *queue) Close(b *testing.B) {
	close(q.inserts)
	if err := q.client.Stop(context.Background()); err != nil { // ends the subscription, too
		b.Error(err)
	}
	q.served.Wait()
	q.pool.Close()
}

// lifecycle inserts a job with a key and, unless nobody waits, waits for its end.
func (q *queue) lifecycle(key string, n int) error {
	if q.way.ends == nobodyWaits {
		return q.insert(lifecycleArgs{fmt.Sprintf("%s-%d", key, n)})
	}
	end := make(chan struct{})
	q.waiting.Store(key, end)
	if err := q.insert(lifecycleArgs{key}); err != nil {
		return err
	}
	<-end
	return nil
}

func (q *queue) work(ctx context.Context, job *river.Job[lifecycleArgs]) error {
	if q.way.ends != byWorker {
		return nil
	}
	err := pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err == nil {
		q.ended.Add(1)
		q.release(job.Args.Key)
	}
	return err
}

// hear reads the subscription to its end.
func (q *queue) hear(events <-chan *river.Event) {
	for event := range events {
		if q.way.ends != byWorker {
			q.ended.Add(1)
			q.release(keyOf(event.Job))
		}
	}
}

func (q *queue) release(key string) {
	if end, ok := q.waiting.LoadAndDelete(key); ok {
		close(end.(chan struct{}))
	}
}

// An insertion is a job whose caller waits for its insertion.
type insertion struct {
	args lifecycleArgs
	err  chan error
}

func (q *queue) insert(args lifecycleArgs) error {
	if q.way.grouped {
		i := &insertion{args, make(chan error, 1)}
		q.inserts <- i
		return <-i.err
	}
	result, err := q.client.Insert(context.Background(), args, nil)
	return refused(result, err)
}

// insertLoop inserts all waiting jobs at once.
func (q *queue) insertLoop() {
	for first := range q.inserts {
		group := []*insertion{first}
		for len(q.inserts) > 0 && len(group) < cap(q.inserts) {
			group = append(group, <-q.inserts)
		}
		jobs := make([]river.InsertManyParams, len(group))
		for i := range group {
			jobs[i].Args = group[i].args
		}
		results, err := q.client.InsertMany(context.Background(), jobs)
		for i := range group {
			if err != nil {
				group[i].err <- err
				continue
			}
			group[i].err <- refused(results[i], nil)
		}
	}
}

func refused(result *rivertype.JobInsertResult, err error) error {
	if err == nil && result.UniqueSkippedAsDuplicate {
		err = fmt.Errorf("job %d holds the key", result.Job.ID)
	}
	return err
}
