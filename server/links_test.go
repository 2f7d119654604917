package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// linker makes links, whose sessions are an admin's.
type linker struct {
	*door
	made atomic.Int64
	err  atomic.Pointer[error]
}

func newLinker(t *testing.T) *linker { return &linker{door: newDoor(t, server.Options{})} }

func (l *linker) link() string {
	authenticator := auth.NewAuthenticator(l.tokens)
	return "/" + l.Handler.(*documented).SignInLink(func(ctx context.Context) (auth.Session, error) {
		if p := l.err.Load(); p != nil {
			return auth.Session{}, *p
		}
		l.made.Add(1)
		return authenticator.BeginSessionWithout(ctx, "a link", auth.Admin)
	})
}

// led tells where a link leads, without cookies.
func led(w *httptest.ResponseRecorder) string {
	return fmt.Sprintf("%d to %s%s", w.Code, w.Header().Get("Location"), w.Header().Get("Set-Cookie"))
}

const noGood = "303 to ../#/link"

// enter does what the page does with the code it was led to.
func (l *linker) enter(link string) *httptest.ResponseRecorder {
	l.t.Helper()
	w := l.send("GET", link, "")
	code, ok := strings.CutPrefix(led(w), "303 to ../#/enter/")
	if !ok {
		l.t.Fatalf("%s leads %s", link, led(w))
	}
	return l.send("POST", "/page/session", `{"code":"`+code+`"}`, asJSON)
}

func TestLinkSignsInOnce(t *testing.T) {
	l := newLinker(t)
	link, other := l.link(), l.link()
	code, ok := strings.CutPrefix(link, "/page/enter?code=")
	if link == other || !ok {
		t.Fatalf("links %s and %s", link, other)
	}
	for _, method := range []string{"HEAD", "GET", "GET"} { // looking at it uses nothing up
		if got := led(l.send(method, link, "")); got != "303 to ../#/enter/"+code {
			t.Errorf("%s: %s", method, got)
		}
	}
	s, _ := taken(t, l.enter(link))
	if got := l.list(s.headers()...); got != 200 {
		t.Errorf("with its session: %d", got)
	}
	if rows := l.rows(); len(rows) != 1 || rows[0].By != "" || rows[0].Name != "a link" {
		t.Errorf("the store has %+v", rows)
	} else {
		l.log.line(t, "signed in on the page by a link", rows[0].ID)
	}
	if w := l.enter(link); w.Code != 401 || w.Header().Get("Set-Cookie") != "" || !strings.Contains(w.Body.String(), `"code":40002,"message":"Link not valid`) {
		t.Errorf("the second time: %d %s", w.Code, w.Body)
	}
	for name, target := range map[string]string{
		"another code": "/page/enter?code=AAAA", "no code": "/page/enter", "a bad query": "/page/enter?code=%zz",
		"what leads elsewhere": "/page/enter?code=AAAAAAAAAAAAAAAAAAAAAAAAA/", "small letters": "/page/enter?code=aaaaaaaaaaaaaaaaaaaaaaaaaa",
	} {
		if got := led(l.send("GET", target, "")); got != noGood {
			t.Errorf("%s: %s", name, got)
		}
	}
	if w := l.enter(other); w.Code != 200 || l.made.Load() != 2 {
		t.Errorf("the other link: %d; %d sessions were made", w.Code, l.made.Load())
	}
	if strings.Contains(l.log.String(), code) || strings.Contains(l.log.String(), s.half) {
		t.Error("the log holds the code, or the half of the session")
	}
}

func TestLinkIsUsedByOne(t *testing.T) {
	l := newLinker(t)
	link := l.link()
	var group sync.WaitGroup
	var in atomic.Int64
	for range 50 {
		group.Go(func() {
			if l.enter(link).Code == 200 {
				in.Add(1)
			}
		})
	}
	group.Wait()
	if in.Load() != 1 || l.made.Load() != 1 {
		t.Errorf("%d came in, %d sessions were made", in.Load(), l.made.Load())
	}
}

func TestLinkSurvivesAnOutage(t *testing.T) {
	l := newLinker(t)
	link := l.link()
	err := errors.Join(kapi.ErrUnavailable, errors.New("the disk is gone"))
	l.err.Store(&err)
	w := l.enter(link)
	golden(t, "unavailable.json", w)
	if w.Code != 503 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("in the outage: %d %v", w.Code, w.Header())
	}
	l.err.Store(nil)
	if w := l.enter(link); w.Code != 200 {
		t.Errorf("after it: %d", w.Code)
	}
}

func TestLinkExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinker(t)
		early, late := l.link(), l.link()
		time.Sleep(server.LinkFor - time.Second)
		if w := l.enter(early); w.Code != 200 {
			t.Errorf("in time: %d", w.Code)
		}
		time.Sleep(time.Second)
		if w := l.enter(late); w.Code != 401 {
			t.Errorf("too late: %d", w.Code)
		}
	})
}
