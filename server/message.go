package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// A recorder notes the status and the client of an answer, for the log and for the handling of panics.
type recorder struct {
	http.ResponseWriter
	start  time.Time
	who    auth.Identity
	status int // 0 until the header is written
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// send answers with a body. Errors of the write are ignored: the client has disconnected.
func (w *recorder) send(status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func (w *recorder) sendJSON(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.send(status, jsonType, body)
	return nil
}

// readFields reads the body of c, a JSON object. It returns nil if there is no body, which needs no Content-Type.
func readFields(c *call, limit int64) (f wire.Fields, err error) {
	body, err := readObject(c, limit)
	if body == nil || err != nil {
		return nil, err
	}
	return f, json.Unmarshal(body, &f)
}

// readObject is readFields without decoding the fields. The object may have white space around it.
func readObject(c *call, limit int64) ([]byte, error) {
	body, err := readBody(c, limit)
	if body == nil || err != nil {
		return nil, err
	}
	if wide(body) {
		return nil, wire.BadBody.Because("it is UTF-16 or UTF-32, and must be UTF-8")
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, wire.BadBody.Because("it " + notObject)
	}
	var object json.RawMessage
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&object); err != nil {
		return nil, wire.BadBody.Because(fmt.Sprintf("%.200s", err))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, wire.BadBody.Because("something follows the JSON object")
	}
	return object, nil
}

// notObject is what is wrong with a body, or with the arguments of an operation.
const notObject = "must be a JSON object"

// readBody reads the body of c, which must be JSON. It returns nil if there is none, which needs no Content-Type.
func readBody(c *call, limit int64) ([]byte, error) {
	// MaxBytesReader gets the inner writer, which is net/http's own: only that one can be made to close the
	// connection after a body that is too long.
	body, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, wire.TooLarge.Because(fmt.Sprintf("it has more than %d bytes", tooLarge.Limit))
	case err != nil:
		return nil, wire.BadBody.Because("it could not be read to its end")
	}
	if body = bytes.TrimPrefix(body, byteOrderMark); len(body) == 0 {
		return nil, nil
	}
	if err := checkType(c, jsonType); err != nil {
		return nil, err
	}
	return body, nil
}

// needFields is readFields for a body that must not be missing.
func needFields(c *call, limit int64) (wire.Fields, error) {
	f, err := readFields(c, limit)
	if err == nil && f == nil {
		err = wire.BadBody.Because("there is none")
	}
	return f, err
}

// checkType refuses a body that has another type, a charset other than UTF-8, or a content encoding.
func checkType(c *call, want string) error {
	for _, coding := range strings.Split(strings.Join(c.Header.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			c.w.Header().Set("Accept-Encoding", "identity") // RFC 9110, section 15.5.16
			return wire.BadType.Because(fmt.Sprintf("a body with the content encoding %.100q is not read; send it as it is", coding))
		}
	}
	kind, more, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || kind != want {
		return wire.BadType.Because("the body must be " + want)
	}
	if charset := more["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return wire.BadType.Because(fmt.Sprintf("the body must be UTF-8, not %.100q", charset))
	}
	return nil
}

// byteOrderMark may be ignored before JSON (RFC 8259, section 8.1). Programs on Windows often write it.
var byteOrderMark = []byte("\uFEFF")

// wide reports whether a body is UTF-16 or UTF-32. It has a byte order mark, or a NUL in its first two
// bytes, because JSON begins with ASCII characters.
func wide(body []byte) bool {
	return bytes.HasPrefix(body, []byte{0xFF, 0xFE}) || bytes.HasPrefix(body, []byte{0xFE, 0xFF}) ||
		bytes.IndexByte(body[:min(len(body), 2)], 0) >= 0
}

// checkQuery refuses every parameter except the known ones: a client must not think that another one had an effect.
func checkQuery(raw string, known []string) error {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return wire.BadQuery.Because("it is malformed")
	}
	first, unknown := "", false
	for name := range values {
		if !slices.Contains(known, name) && (!unknown || name < first) {
			first, unknown = name, true
		}
	}
	if unknown {
		return wire.BadQuery.With(fmt.Sprintf("unknown parameter %.100q", first), wire.Facts{Field: first, Reason: "is unknown"})
	}
	return nil
}
