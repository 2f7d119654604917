package operation

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
)

// EachOptions say how often Each stores the key of the last item. They may differ from run to run. The zero value stores
// it after each item, which costs an fsync each time.
type EachOptions struct {
	// Every is the time after which the key is stored again, at the end of the item that is worked on then.
	Every time.Duration
	// EveryItems is the number of items after which it is stored again. If Every is set too, what comes first counts.
	EveryItems int
}

// An eachRecord is what Each stores: the key of the last item, or that there are no more.
type eachRecord struct {
	Last json.RawMessage `json:"last,omitempty"`
	Done bool            `json:"done,omitempty"`
}

// Each calls do for each item of a sequence, one after the other, and stores the key of the last one, so that the next run
// of the action, or of one that continues it, goes on after that item. Once the sequence has ended, later runs do nothing.
//
// C is the key of an item, not its number, so that items that come or go between two runs don't shift the others. The
// function after returns the items after last, or all items if last is nil, in an order that is the same in all runs. An
// error in the sequence ends it. A key is stored as JSON, in at most 256 KiB, after the work of its item. So no item is
// skipped, but after a crash those come again that were done since a key was stored last; the options say how often that
// is. Fields that JSON leaves out may carry what do needs besides. Keys with pointers, slices, maps or interfaces are
// encoded for each item, which costs about 300 ns, because the sequence may change them when it goes on.
//
// Each returns the first error: of the sequence, of do, of Proceed (which it calls before each item), of ctx, or of storing
// a key. Before it returns, or passes on a panic of do, it stores the key of the last item that was done; if that fails
// too, the error is both (kapi.ErrStaleFence, for example). A sequence that ends after ctx has ended doesn't count as
// complete. All errors name the Each. Errors about names, keys and what is stored are permanent, as in Step. Names follow
// the rules of Step's; a Step and an Each may have the same name.
func Each[C any](ctx context.Context, h kapi.OperationHandle, name string,
	after func(ctx context.Context, last *C) iter.Seq2[C, error], do func(context.Context, C) error, options EachOptions,
) error {
	if err := all(ctx, h, name, after, do, options); err != nil {
		return fmt.Errorf("each %.100q: %w", name, err)
	}
	return nil
}

func all[C any](ctx context.Context, h kapi.OperationHandle, name string,
	after func(ctx context.Context, last *C) iter.Seq2[C, error], do func(context.Context, C) error, options EachOptions,
) (err error) {
	switch {
	case after == nil, do == nil:
		return wrong("function", "is nil")
	case options.Every < 0, options.EveryItems < 0:
		return wrong("options", "must not have a negative number")
	}
	c, last, err := open[C](ctx, h, name, options)
	if err != nil || c == nil {
		return err
	}
	defer func() {
		c.stop()
		if failed := c.store(); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	items := after(ctx, last)
	if items == nil {
		return wrong("sequence", "is nil")
	}
	for key, err := range items {
		if err == nil {
			err = c.begin(ctx, key)
		}
		if err == nil {
			err = do(ctx, key)
		}
		if err == nil {
			err = c.end(key)
		}
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil { // which may be why the sequence ended
		return err
	}
	return c.done()
}

// A cursor is how far an Each is.
type cursor[C any] struct {
	place
	options EachOptions
	timer   *time.Timer // nil if the time doesn't matter
	due     atomic.Bool // the time has come to store the key: to look at a flag costs less than to look at the clock

	last   C               // the key of the last item whose work is done
	fresh  int             // how many items were done since it was stored
	shared bool            // whether the keys may share memory, so that last may change when the sequence goes on
	next   json.RawMessage // then, the key of the item that is worked on
	text   json.RawMessage // and last, encoded before it could change
}

// open returns the cursor of an Each, and where it goes on. The cursor is nil if there is nothing left to do.
func open[C any](ctx context.Context, h kapi.OperationHandle, name string, options EachOptions) (*cursor[C], *C, error) {
	at, err := take(ctx, h, eachNames, name)
	if err != nil {
		return nil, nil, err
	}
	var record eachRecord
	found, err := at.load(&record)
	if err != nil || record.Done {
		return nil, nil, err
	}
	if err := storable(reflect.TypeFor[C]()); err != nil {
		return nil, nil, err
	}
	c := &cursor[C]{place: at, options: options, shared: shares(reflect.TypeFor[C]())}
	if options == (EachOptions{}) {
		c.options.EveryItems = 1
	}
	var last *C
	if found {
		key, err := stored[C](record.Last)
		if err != nil {
			return nil, nil, err
		}
		last = &key
	}
	if options.Every > 0 {
		c.timer = time.AfterFunc(options.Every, func() { c.due.Store(true) })
	}
	return c, last, nil
}

// stop ends the timer for good.
func (c *cursor[C]) stop() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// begin prepares for the work of an item, and returns an error if it must not begin.
func (c *cursor[C]) begin(ctx context.Context, key C) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.shared {
		if c.next, err = json.Marshal(key); err != nil {
			return Permanent(err)
		}
	}
	return c.handle.Proceed(ctx)
}

// end notes that the work of an item is done.
func (c *cursor[C]) end(key C) error {
	c.last, c.text, c.next = key, c.next, nil
	c.fresh++
	if c.fresh == c.options.EveryItems || c.due.Load() {
		return c.store()
	}
	return nil
}

// store stores the key of the last item whose work is done, if it is not stored yet. It isn't tried twice.
func (c *cursor[C]) store() (err error) {
	if c.fresh == 0 {
		return nil
	}
	c.fresh = 0
	if c.timer != nil {
		c.due.Store(false)
		c.timer.Reset(c.options.Every)
	}
	text := c.text
	if !c.shared {
		if text, err = json.Marshal(c.last); err != nil {
			err = Permanent(err)
		}
	}
	if err == nil {
		err = sameKey[C](text)
	}
	if err == nil {
		err = c.save(eachRecord{Last: text})
	}
	if err != nil {
		return fmt.Errorf("its last item is done, but the key could not be stored: %w", err)
	}
	return nil
}

// done stores that there are no more items.
func (c *cursor[C]) done() error {
	c.fresh = 0
	if err := c.save(eachRecord{Done: true}); err != nil {
		return fmt.Errorf("all items are done, but that could not be stored: %w", err)
	}
	return nil
}

// sameKey returns an error if what will be read from text is another key than the one that was encoded: items could be
// skipped.
func sameKey[C any](text json.RawMessage) error {
	key, err := stored[C](text)
	if err != nil {
		return err
	}
	if again, err := json.Marshal(key); err != nil || !bytes.Equal(again, text) {
		return Permanent(fmt.Errorf("a key of type %v can't be stored: another one would be read", reflect.TypeFor[C]()))
	}
	return nil
}

// storable returns an error for a struct of which JSON has nothing.
func storable(of reflect.Type) error {
	_, encodes := reflect.Zero(of).Interface().(json.Marshaler)
	_, spells := reflect.Zero(of).Interface().(encoding.TextMarshaler)
	if of.Kind() != reflect.Struct || encodes || spells {
		return nil
	}
	for _, f := range reflect.VisibleFields(of) {
		if f.IsExported() && f.Tag.Get("json") != "-" {
			return nil
		}
	}
	return wrong("key", fmt.Sprintf("has the type %v: none of its fields would be stored", of))
}

// shares reports whether two values of a type may share memory, so that one changes with the other.
func shares(of reflect.Type) bool {
	if of == reflect.TypeFor[time.Time]() { // its pointer is to a place, which never changes
		return false
	}
	switch of.Kind() {
	case reflect.Array:
		return shares(of.Elem())
	case reflect.Struct:
		for i := range of.NumField() {
			if shares(of.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	}
	return false
}
