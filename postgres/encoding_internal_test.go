package postgres

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// elsewhere are the fields that are in the column defined.
var elsewhere = map[string]bool{
	"Defined": true, "Operation": true, "StartedBy": true, "Attempt": true, "NoCancel": true, "PausedBy": true,
}

// whole returns a record with all fields of the column data set. TestEncoding fails if one is not.
func whole() store.Record {
	progress, code := 0.25, -1
	return store.Record{
		Action: kapi.Action{
			ID: "id", Title: "Tïtle", CreatedAt: 1, Status: kapi.StatusImpacted, Description: "description",
			Progress: &progress, State: "state", Seq: math.MaxUint64, Keys: []string{"a", "b"}, UpdatedAt: math.MaxInt64,
			StartedAt: 3, Runner: &kapi.Runner{ID: "runner", Host: "host", PID: 4, HeardAt: 5},
			CancelRequestedAt: math.MinInt64, CancelledBy: "somebody", ExitCode: &code, NotProvenDead: true,
			WaitsFor: &kapi.WaitsFor{Key: "key", Action: "action", Title: "title"},
		},
		Fence: 6, ReleaseOnFailure: true, LeaveRunning: true, Silence: "silence", LateEnd: true,
		Waits: []string{"c"}, Ticket: 7, DismissFailed: true, Sender: "sender",
	}
}

func TestEncoding(t *testing.T) {
	full := whole()
	for _, of := range []any{full, full.Action, *full.Runner, *full.WaitsFor} {
		v := reflect.ValueOf(of)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() && !elsewhere[name] {
				t.Errorf("whole doesn't set %s.%s", v.Type(), name)
			}
		}
	}
	// Also with each field alone missing, and with each field alone set.
	records := []store.Record{{}, full}
	fields := reflect.TypeFor[store.Record]()
	for _, f := range reflect.VisibleFields(fields) {
		if f.Anonymous {
			continue
		}
		without, only := whole(), store.Record{}
		reflect.ValueOf(&without).Elem().FieldByIndex(f.Index).SetZero()
		reflect.ValueOf(&only).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(full).FieldByIndex(f.Index))
		records = append(records, without, only)
	}
	for _, want := range records {
		data := encode([]byte("before"), &want)[len("before"):]
		got, err := decode(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		for n := range data {
			if _, err := decode(data[:n]); err == nil {
				t.Errorf("%d bytes of %d were decoded as a record", n, len(data))
			}
		}
		if _, err := decode(append(data, 0)); !errors.Is(err, errBroken) {
			t.Errorf("with a byte more than a record has: %v", err)
		}
	}
}

// TestFormat: records in this format can be read by this and all later versions.
func TestFormat(t *testing.T) {
	const written = "\x01\xff\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x06\a\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x06" +
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01?\xd0\x00\x00\x00\x00\x00\x00\x01\x02id\x06Tïtle\vdescription\x05state\asilence" +
		"\bsomebody\x06runner\x04host\b\n\x02\x01a\x01b\x01\x01c"
	waitless := whole()
	waitless.WaitsFor = nil
	senderless := waitless
	senderless.Sender = ""
	for data, want := range map[string]store.Record{
		written: senderless, "\x02" + written[1:] + "\x06sender": waitless,
		"\x03\xff\x03" + written[3:] + "\x06sender\x03key\x06action\x05title": whole(),
	} {
		if r, err := decode([]byte(data)); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%+v, %v; want %+v", r, err, want)
		}
	}
	if _, err := decode([]byte("\x04" + written[1:])); !errors.Is(err, errFormat) {
		t.Errorf("of a later format: %v", err)
	}
	if _, err := decode([]byte{format, 0x80, 4}); !errors.Is(err, errFormat) { // bit 9
		t.Errorf("with a flag that has no meaning yet: %v", err)
	}
}

// FuzzDecode: decode returns an error or a valid record for any data.
func FuzzDecode(f *testing.F) {
	full := whole()
	f.Add(encode(nil, &full))
	f.Add(encode(nil, &store.Record{}))
	f.Add([]byte{format, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(data)
		if err != nil {
			return
		}
		if r.Progress != nil && math.IsNaN(*r.Progress) {
			return // NaN, which isn't equal to itself
		}
		if again, err := decode(encode(nil, &r)); err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%+v was decoded, and %+v, %v after it was encoded again", r, again, err)
		}
	})
}
