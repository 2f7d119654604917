package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A load writes and reads keys all the time, through an ordinary cluster client, and knows what each must be. Each key
// has one writer, so that it knows the order of its own writes.
type load struct {
	client  *redis.ClusterClient
	writers []*writer
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

type writer struct {
	load *load
	t    *testing.T
	keys []string
	// may has what each key may be: one value, or more if it is not known whether a write has happened. "" is absent.
	may  map[string][]string
	next int
	acks int
}

const writers = 4

// bigStart is the part of the big key that is written to, bigRest what follows.
const bigStart = 12

// newLoad creates the keys, spread over the slots, and one of some size in a slot of its own.
func newLoad(t *testing.T, addrs []string, keys int, slots []int, bigKey string, bigBytes int) *load {
	t.Helper()
	l := &load{client: redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxRedirects: 30,
	})}
	t.Cleanup(func() { l.client.Close() })
	for range writers {
		l.writers = append(l.writers, &writer{load: l, t: t, may: map[string][]string{}})
	}
	tags := tagsOf(slots)
	pipe := l.client.Pipeline()
	for i := range keys {
		key := fmt.Sprintf("{%s}:%d", tags[i%len(tags)], i)
		w := l.writers[i%writers]
		w.keys, w.may[key] = append(w.keys, key), []string{"first"}
		pipe.Set(t.Context(), key, "first", 0)
		if i%1000 == 999 || i == keys-1 {
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := fmt.Sprintf("%0*d", bigStart, 0)
	big := first + strings.Repeat("x", bigBytes)
	if err := l.client.Set(t.Context(), bigKey, big, 0).Err(); err != nil {
		t.Fatal(err)
	}
	l.writers[0].may[bigKey] = []string{first}
	return l
}

// start begins to write and read.
func (l *load) start(bigKey string) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i, w := range l.writers {
		l.ended.Go(func() {
			for ctx.Err() == nil {
				if i == 0 && rand.N(50) == 0 {
					w.writeBig(bigKey)
				} else {
					w.once()
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// end stops the load, and returns how many writes were acknowledged.
func (l *load) end() (acks int) {
	l.stop()
	l.ended.Wait()
	for _, w := range l.writers {
		acks += w.acks
	}
	return acks
}

// once reads, writes or deletes a key.
func (w *writer) once() {
	ctx, key := context.Background(), w.keys[rand.N(len(w.keys))]
	switch dice := rand.N(10); {
	case dice < 4:
		w.check(key)
	case dice < 5:
		w.wrote(key, "", w.load.client.Del(ctx, key).Err())
	default:
		w.next++
		value := fmt.Sprint(w.next)
		w.wrote(key, value, w.load.client.Set(ctx, key, value, 0).Err())
	}
}

func (w *writer) writeBig(key string) {
	w.next++
	value := fmt.Sprintf("%0*d", bigStart, w.next)
	w.wrote(key, value, w.load.client.SetRange(context.Background(), key, 0, value).Err())
	w.checkBig(key)
}

func (w *writer) wrote(key, value string, err error) {
	if err != nil {
		w.may[key] = append(w.may[key], value)
		return
	}
	w.may[key] = []string{value}
	w.acks++
}

// check reads a key.
func (w *writer) check(key string) {
	value, err := w.load.client.Get(context.Background(), key).Result()
	w.compare(key, value, err)
}

func (w *writer) checkBig(key string) {
	value, err := w.load.client.GetRange(context.Background(), key, 0, bigStart-1).Result()
	w.compare(key, value, err)
}

func (w *writer) compare(key, value string, err error) {
	if err != nil && !errors.Is(err, redis.Nil) {
		return // a read may fail; then nothing is known
	}
	if !slices.Contains(w.may[key], value) {
		w.t.Errorf("key %s is %q, want one of %q", key, value, w.may[key])
		w.may[key] = []string{value}
	}
}

// checkAll reads all keys, and returns how many there are. The load must have ended.
func (l *load) checkAll(t *testing.T, bigKey string, bigBytes int) (exist int) {
	t.Helper()
	for _, w := range l.writers {
		for _, key := range w.keys {
			value, err := l.client.Get(t.Context(), key).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Fatal(err)
			}
			w.compare(key, value, err)
			if err == nil {
				exist++
			}
		}
	}
	big, err := l.client.Get(t.Context(), bigKey).Result()
	if err != nil || len(big) != bigStart+bigBytes || strings.Trim(big[bigStart:], "x") != "" {
		t.Fatalf("the big key has %d bytes, %v", len(big), err)
	}
	l.writers[0].compare(bigKey, big[:bigStart], nil)
	return exist + 1
}

// tagsOf returns a hash tag for each slot.
func tagsOf(slots []int) []string {
	tags, left := make([]string, len(slots)), len(slots)
	for i := 0; left > 0; i++ {
		at := slices.Index(slots, slotOf(fmt.Sprint(i)))
		if at >= 0 && tags[at] == "" {
			tags[at] = fmt.Sprint(i)
			left--
		}
	}
	return tags
}

// slotOf returns the slot of a key: the CRC16 (XMODEM) of its hash tag, or of all of it.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slotCount
}
