package postgres

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// format is the first byte of an encoded record. A new field needs a new format; decode must still read
// the old ones.
const (
	format     = 3
	waitless   = 2 // the previous format: without WaitsFor
	senderless = 1 // the first format: also without Sender
)

const (
	flagReleaseOnFailure = 1 << iota
	flagNotProvenDead
	flagLateEnd
	flagLeaveRunning
	flagDismissFailed
	flagProgress // from here on: the field is present
	flagExitCode
	flagRunner
	flagWaitsFor
)

var (
	errFormat = errors.New("its row can't be read: this kapi doesn't know its format, a newer one may")
	errBroken = errors.New("its row can't be read: it is cut off, or followed by other data")
)

// encode appends a record to b: numbers as varints, each string after its length in bytes.
func encode(b []byte, r *store.Record) []byte {
	b = append(b, format)
	b = binary.AppendUvarint(b, flags(r))
	for _, n := range []uint64{r.Seq, uint64(r.Status), r.Fence, r.Ticket} {
		b = binary.AppendUvarint(b, n)
	}
	for _, t := range []int64{r.CreatedAt, r.UpdatedAt, r.StartedAt, r.CancelRequestedAt} {
		b = binary.AppendVarint(b, t)
	}
	if r.Progress != nil {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(*r.Progress))
	}
	if r.ExitCode != nil {
		b = binary.AppendVarint(b, int64(*r.ExitCode))
	}
	for _, s := range []string{r.ID, r.Title, r.Description, r.State, r.Silence, r.CancelledBy} {
		b = appendString(b, s)
	}
	if r.Runner != nil {
		b = appendString(appendString(b, r.Runner.ID), r.Runner.Host)
		b = binary.AppendVarint(binary.AppendVarint(b, int64(r.Runner.PID)), r.Runner.HeardAt)
	}
	for _, list := range [][]string{r.Keys, r.Waits} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	b = appendString(b, r.Sender)
	if w := r.WaitsFor; w != nil {
		b = appendString(appendString(appendString(b, w.Key), w.Action), w.Title)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func flags(r *store.Record) (f uint64) {
	for _, is := range []struct {
		so   bool
		flag uint64
	}{
		{r.ReleaseOnFailure, flagReleaseOnFailure},
		{r.NotProvenDead, flagNotProvenDead},
		{r.LateEnd, flagLateEnd},
		{r.LeaveRunning, flagLeaveRunning},
		{r.DismissFailed, flagDismissFailed},
		{r.Progress != nil, flagProgress},
		{r.ExitCode != nil, flagExitCode},
		{r.Runner != nil, flagRunner},
		{r.WaitsFor != nil, flagWaitsFor},
	} {
		if is.so {
			f |= is.flag
		}
	}
	return f
}

// decode decodes a record. All its strings share one copy of data.
func decode(data []byte) (r store.Record, err error) {
	if len(data) == 0 || data[0] < senderless || data[0] > format {
		return r, errFormat
	}
	d := decoder{rest: data[1:], text: string(data)}
	f := d.uvarint()
	if f >= flagWaitsFor<<1 || f&flagWaitsFor != 0 && data[0] <= waitless {
		return r, errFormat
	}
	r.Seq, r.Status, r.Fence, r.Ticket = d.uvarint(), kapi.Status(d.uvarint()), d.uvarint(), d.uvarint()
	r.CreatedAt, r.UpdatedAt, r.StartedAt, r.CancelRequestedAt = d.varint(), d.varint(), d.varint(), d.varint()
	if f&flagProgress != 0 {
		progress := math.Float64frombits(d.uint64())
		r.Progress = &progress
	}
	if f&flagExitCode != 0 {
		code := int(d.varint())
		r.ExitCode = &code
	}
	r.ID, r.Title, r.Description = d.string(), d.string(), d.string()
	r.State, r.Silence, r.CancelledBy = d.string(), d.string(), d.string()
	if f&flagRunner != 0 {
		r.Runner = &kapi.Runner{ID: d.string(), Host: d.string(), PID: int(d.varint()), HeardAt: d.varint()}
	}
	r.Keys, r.Waits = d.strings(), d.strings()
	if data[0] != senderless {
		r.Sender = d.string()
	}
	if f&flagWaitsFor != 0 {
		r.WaitsFor = &kapi.WaitsFor{Key: d.string(), Action: d.string(), Title: d.string()}
	}
	r.ReleaseOnFailure = f&flagReleaseOnFailure != 0
	r.NotProvenDead = f&flagNotProvenDead != 0
	r.LateEnd = f&flagLateEnd != 0
	r.LeaveRunning = f&flagLeaveRunning != 0
	r.DismissFailed = f&flagDismissFailed != 0
	if d.broken || len(d.rest) > 0 {
		return store.Record{}, errBroken
	}
	return r, nil
}

// A decoder decodes one value after the other. Once it is broken, it returns only zero values.
type decoder struct {
	rest   []byte
	text   string // the whole data, of which rest is the end
	broken bool
}

// next returns the next n bytes, or nil if fewer are left.
func (d *decoder) next(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.stop()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) stop() { d.rest, d.broken = nil, true }

func (d *decoder) uvarint() uint64 { return number(d, binary.Uvarint) }

func (d *decoder) varint() int64 { return number(d, binary.Varint) }

func number[T uint64 | int64](d *decoder, read func([]byte) (T, int)) T {
	n, size := read(d.rest)
	if size <= 0 {
		d.stop()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) uint64() uint64 {
	if b := d.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) string() string {
	n := d.uvarint()
	begin := len(d.text) - len(d.rest)
	return d.text[begin : begin+len(d.next(n))]
}

// strings returns nil for an empty list.
func (d *decoder) strings() []string {
	n := d.uvarint()
	if n == 0 || n > uint64(len(d.rest)) { // each string takes at least one byte
		d.broken = d.broken || n > 0
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = d.string()
	}
	return all
}
