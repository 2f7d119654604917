package server

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitsAreDroppedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits("test", true, 10, 20)
		for i := range 5000 {
			l.take(strconv.Itoa(i))
		}
		for range 20 {
			l.take("busy")
		}
		if len(l.of) != 5001 {
			t.Fatalf("%d buckets", len(l.of))
		}
		time.Sleep(time.Second) // all are full again but one
		if a := l.take("busy"); !a.ok || a.left != 9 {
			t.Errorf("the busy one has %v left", a.left)
		}
		if len(l.of) != 1 {
			t.Errorf("%d buckets, want the busy one", len(l.of))
		}
	})
}

func TestLimitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits("test", true, 1, 5)
		for i := range maxBuckets {
			l.take(strconv.Itoa(i))
		}
		for i := range 5 { // these are strangers to each other, and share a bucket
			if a := l.take("new" + strconv.Itoa(i)); !a.ok {
				t.Errorf("newcomer %d was refused", i)
			}
		}
		if a := l.take("one more"); a.ok {
			t.Error("newcomers have no limit")
		}
		if a := l.take("7"); !a.ok {
			t.Error("who was here before pays for newcomers")
		}
		if len(l.of) > maxBuckets {
			t.Errorf("%d buckets", len(l.of))
		}
		time.Sleep(time.Minute)
		if a := l.take("late"); !a.ok || a.left != 4 || len(l.of) != 1 {
			t.Errorf("a minute later: %+v, %d buckets", a, len(l.of))
		}
	})
}

func TestNoLimits(t *testing.T) {
	for _, l := range []*limits{nil, newLimits("x", true, -1, 5), newLimits("x", true, 0, 5)} {
		if l != nil {
			t.Errorf("got %v", l)
		}
		if a := l.take("x"); !a.ok || a.refusal() != nil {
			t.Error("no limit refused")
		}
		if a := l.peek("x"); !a.ok {
			t.Error("no limit refused a look")
		}
	}
}

func TestProvenIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProven(provenEach)
		key := func(i int) fingerprint { return fingerprint(i + 1) }
		for i := range 3 * maxProven {
			who := strconv.Itoa(i)
			p.add(key(i), who)
			if id, ok := p.get(key(i)); !ok || id != who || len(p.of) > maxProven || len(p.each) > maxProven {
				t.Fatalf("%d: %q, %v, %d entries", i, id, ok, len(p.of))
			}
		}
		time.Sleep(provenFor)
		if _, ok := p.get(key(3*maxProven - 1)); ok {
			t.Error("it is remembered for ever")
		}
		for i := range maxProven {
			p.add(key(-i-1), strconv.Itoa(i))
		}
		if len(p.of) > maxProven {
			t.Errorf("%d entries", len(p.of))
		}
		p.add(0, "nobody")
		if _, ok := p.get(0); ok {
			t.Error("a request without credentials proves nothing for the next one")
		}
	})
}

// A token without permissions can't push others' proofs out, whatever cookies come with it.
func TestProofsOfOneIdentity(t *testing.T) {
	p := newProven(provenEach)
	p.add(1, "admin")
	for i := range 10 * maxProven {
		p.add(fingerprint(i+2), []string{"worthless", "another"}[i%2])
	}
	if id, ok := p.get(1); !ok || id != "admin" || len(p.of) != 1+2*provenEach || len(p.each) != 3 {
		t.Errorf("the admin is %q, %v, one of %d", id, ok, len(p.of))
	}
	p.add(1, "worthless") // a session that was handed on
	p.drop(1)
	p.drop(1)
	if len(p.each["admin"]) != 0 || len(p.each["worthless"]) >= provenEach {
		t.Errorf("left are %v", p.each)
	}
}

// Credentials are told apart by the token alone.
func TestCredentials(t *testing.T) {
	of := func(headers ...string) fingerprint {
		r := &http.Request{Header: http.Header{}}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		return credentials(r)
	}
	if of() != 0 || of("Accept: x") != 0 {
		t.Error("nothing says who it is")
	}
	for _, same := range [][]string{
		{"Authorization: Bearer a", "Cookie: junk=1"},
		{"Authorization: Bearer a", "Cookie: sess=b"},
	} {
		if of(same...) != of("Authorization: Bearer a") {
			t.Errorf("%v is another than its token", same)
		}
	}
	if of("Cookie: junk=1; sess=b") != of("Cookie: sess=b", "Cookie: more=2") {
		t.Error("what else there is beside the cookie counts")
	}
	different := map[fingerprint]bool{of("Authorization: Bearer a"): true, of("Authorization: Bot a"): true, of("Cookie: sess=b"): true, of("Cookie: own=1"): true, of("Cookie: own=2"): true}
	if len(different) != 5 {
		t.Error("different credentials are alike")
	}
}
