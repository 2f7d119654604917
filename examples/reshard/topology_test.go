package main

import (
	"slices"
	"strings"
	"testing"
)

const nodesText = `aaaa :7001@17001 myself,master - 0 0 3 connected 0-2 5 [5->-bbbb] [9-<-bbbb]
bbbb 10.0.0.2:7002@17002,host.example,shard-id=x master - 0 1700000000000 2 connected 3-4 6-16383
cccc ::1:7003@17003 slave,fail? bbbb 0 1700000000000 2 disconnected
`

func TestParseView(t *testing.T) {
	v, err := parseView(nodesText, "192.0.2.1:7001")
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, n := range v.nodes {
		addrs = append(addrs, n.addr())
	}
	if want := []string{"192.0.2.1:7001", "10.0.0.2:7002", "[::1]:7003"}; !slices.Equal(addrs, want) {
		t.Errorf("the addresses are %v, want %v", addrs, want)
	}
	a, b := v.find("aaaa"), v.find("10.0.0.2:7002")
	if v.self != a || v.owner[2] != a || v.owner[3] != b || v.owner[5] != a || v.owner[slotCount-1] != b {
		t.Errorf("the slots are wrong: %v", v.owner[:7])
	}
	if want := []open{{5, false, "bbbb"}, {9, true, "bbbb"}}; !slices.Equal(v.open, want) {
		t.Errorf("open are %v, want %v", v.open, want)
	}
	if c := v.find("cccc"); !c.is("fail?") || c.is("fail") {
		t.Errorf("the flags are %v", c.flags)
	}
}

func TestParseViewRefuses(t *testing.T) {
	for _, text := range []string{
		"", "aaaa", strings.Replace(nodesText, "myself,", "", 1), strings.Replace(nodesText, "0-2", "2-0", 1),
		strings.Replace(nodesText, "0-2", "0-16384", 1), strings.Replace(nodesText, "[5->-bbbb]", "[5]", 1),
		strings.Replace(nodesText, "[5->-bbbb]", "[16384->-bbbb]", 1), strings.Replace(nodesText, ":7001@17001", "7001", 1),
	} {
		if _, err := parseView(text, "192.0.2.1:7001"); err == nil {
			t.Errorf("parsed %q", text)
		}
	}
}

func FuzzParseView(f *testing.F) {
	f.Add(nodesText)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseView(text, "192.0.2.1:7001")
		if err == nil && v.self == nil {
			t.Error("nobody answers")
		}
	})
}

func TestSlots(t *testing.T) {
	for text, want := range map[string]string{"0-2,1-4,7": "0-4,7", "5": "5", "9,8": "8-9", "16383": "16383"} {
		slots, err := parseSlots(text)
		if got := formatSlots(slots); err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "16384", "1-", "-1", "3-1", "1,,2", "a"} {
		if slots, err := parseSlots(text); err == nil {
			t.Errorf("%q is %v", text, slots)
		}
	}
}
