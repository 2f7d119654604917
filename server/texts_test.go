package server_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/kettubot/kapi/server"
)

// Invalid Unicode is refused, with its place, in texts that are compared or can't be changed. Package
// encoding/json would replace it by U+FFFD, so that different keys could become the same.
func TestStartRefusesWhatIsNoUnicode(t *testing.T) {
	f := newFixture(t, server.Options{})
	for _, c := range []struct{ body, says string }{
		{`{"title":"t","keys":["/srv/caf` + "\xe9" + `"]}`, `Bad body: keys is not valid UTF-8: byte 9 is 0xe9, after "/srv/caf"`},
		{`{"title":"t","keys":["fine","/srv/caf` + "\xe8" + `"]}`, `byte 9 is 0xe8`},
		{`{"title":"t","keys":["a\ud800"]}`, `Bad body: keys is not valid Unicode: byte 2 is \ud800, half of a surrogate pair, after "a"`},
		{`{"title":"t","keys":["\udc00\ud800"]}`, `\udc00, half of a surrogate pair`},
		{`{"title":"caf` + "\xe9" + `"}`, `Bad body: title is not valid UTF-8`},
		{`{"title":"\ud800"}`, `Bad body: title is not valid Unicode`},
		{`{"title":"t","description":"` + "\xff" + `"}`, `Bad body: description is not valid UTF-8`},
	} {
		want(t, f.post(c.body), 400, 50004, c.says)
	}
	want(t, f.post(`{"title":"t"}`, "Idempotency-Key: caf\xe9"), 400, 50004, "Idempotency-Key is not valid UTF-8: byte 4 is 0xe9")
	all, err := f.peer.List(context.Background())
	if err != nil || len(all) > 0 {
		t.Errorf("%v was started (%v)", all, err)
	}
	if r := f.begin(`{"title":"\ud83d\ude00","keys":["caf\u00e9"]}`); r.Action.Title != "\U0001F600" || r.Action.Keys[0] != "café" {
		t.Errorf("got %+v", r.Action)
	}
}

// A report is not refused for invalid text that it quotes from a tool: its state is cleaned.
func TestStateIsCleaned(t *testing.T) {
	f := newFixture(t, server.Options{})
	r := f.begin(`{"title":"t"}`)
	w := f.patch(r.Action.ID, `{"fence":`+strconv.FormatUint(r.Fence, 10)+`,"state":"caf`+"\xe9"+` \ud800"}`)
	var got struct{ State string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.State != "caf\uFFFD \uFFFD" {
		t.Errorf("got %d %s (%v)", w.Code, w.Body, err)
	}
}

// Ids are ASCII: any other is unknown, and nobody's store is asked for it.
func TestIDThatIsNone(t *testing.T) {
	f := newFixture(t, server.Options{})
	for _, id := range []string{"%FF", "a%00", "caf%E9"} {
		for _, path := range []string{"/dismiss", "/cancel"} {
			want(t, f.send("POST", "/v4/kapi/actions/"+id+path, "", adminToken), 404, 10015, "Unknown action")
		}
		want(t, f.patch(id, `{"fence":1}`), 404, 10015, "Unknown action")
		want(t, f.send("GET", "/v4/kapi/actions/"+id, "", adminToken), 404, 10015, "Unknown action")
	}
}

// A byte order mark before JSON is allowed to be ignored (RFC 8259, section 8.1), and Windows
// writes it. Other encodings are named.
func TestEncodings(t *testing.T) {
	f := newFixture(t, server.Options{})
	f.begin("\uFEFF" + `{"title":"with a mark"}`)
	f.begin("\uFEFF \r\n" + `{"title":"with a mark"}`)
	wide := func(text string, low, high int) string {
		var b strings.Builder
		for _, c := range text {
			pair := []byte{0, 0}
			pair[low], pair[high] = byte(c), byte(c>>8)
			b.Write(pair)
		}
		return b.String()
	}
	const said = "must be UTF-8"
	for name, body := range map[string]string{
		"UTF-16LE":             wide("\uFEFF{\"title\":\"t\"}", 0, 1),
		"UTF-16BE":             wide("\uFEFF{\"title\":\"t\"}", 1, 0),
		"UTF-16LE, no mark":    wide("{\"title\":\"t\"}", 0, 1),
		"UTF-16BE, no mark":    wide(" {\"title\":\"t\"}", 1, 0),
		"UTF-32LE":             "\xff\xfe\x00\x00{\x00\x00\x00",
		"UTF-32BE":             "\x00\x00\xfe\xff\x00\x00\x00{",
		"UTF-32LE, no mark":    "{\x00\x00\x00}\x00\x00\x00",
		"an empty UTF-16 body": "\xff\xfe",
	} {
		if w := f.post(body); w.Code != 400 || !strings.Contains(w.Body.String(), said) {
			t.Errorf("%s: got %d %s, want %q", name, w.Code, w.Body, said)
		}
	}
	want(t, f.post("\uFEFF\uFEFF"+`{"title":"t"}`), 400, 50004, "must be a JSON object")
	want(t, f.post("\uFEFF"), 400, 50004, "there is none")
}
