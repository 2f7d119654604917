package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A look is a screen and settings with which the page is viewed.
type look struct {
	name          string
	width, height int64
	scale         float64
	mobile, dark  bool
	still         bool // reduced motion
}

var (
	desktop = look{name: "desktop-light", width: 1280, height: 800, scale: 1}
	phone   = look{name: "phone-light", width: 360, height: 740, scale: 2, mobile: true}
)

func (l look) inTheDark() look {
	l.dark = true
	l.name = strings.Replace(l.name, "light", "dark", 1)
	return l
}

// A tab is a tab of the browser, with its own cookies.
type tab struct {
	t    testing.TB
	ctx  context.Context
	look look

	mu       sync.Mutex
	console  []string // messages that should not be there
	requests []string // addresses of all requests
}

func open(t testing.TB, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx, look: l}
	var following sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		following.Wait()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	following.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			// Failed requests (status 401, server down) are logged by the browser; the page shows them.
			if m.Source == "network" || m.Type != chromedp.ConsoleError && m.Type != chromedp.ConsoleException && m.Type != chromedp.ConsoleWarning {
				continue
			}
			b.mu.Lock()
			b.console = append(b.console, m.String())
			b.mu.Unlock()
		}
	})
	call(b, network.Enable, network.EnableParams{})
	requests, sockets := chromedp.Events(ctx, network.RequestWillBeSent), chromedp.Events(ctx, network.WebSocketCreated)
	following.Go(func() {
		for e, err := range requests {
			if err != nil {
				return
			}
			b.asked(e.Request.URL + e.Request.URLFragment)
		}
	})
	following.Go(func() {
		for e, err := range sockets {
			if err != nil {
				return
			}
			b.asked(e.URL)
		}
	})
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(l.scale)}
	if l.mobile {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.do(chromedp.EmulateViewport(l.width, l.height, options...))
	scheme, motion := "light", "no-preference"
	if l.dark {
		scheme = "dark"
	}
	if l.still {
		motion = "reduce"
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
	return b
}

func (b *tab) asked(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, address)
}

// addresses returns the addresses of all the page's requests.
func (b *tab) addresses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// quiet fails the test if the page logged an exception or a violation of its policy.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, message := range b.console {
		b.t.Errorf("the console has: %s", message)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the DevTools protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func evaluate[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// await waits until a script returns true.
func (b *tab) await(what, script string) {
	b.t.Helper()
	there := false
	defer func() {
		if !there {
			b.shot("failed")
			b.t.Logf("the page shows: %.3000s", evaluate[string](b, "document.body.innerText"))
		}
	}()
	kapitest.Eventually(b.t, what+": "+script, func() bool {
		yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+script+")"))
		there = err == nil && yes // there may be no document yet
		return there
	})
}

func (b *tab) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// press presses keys, one after the other.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// tabTo moves to the element that a selector finds, with the Tab key alone.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 60 {
		b.press("\t")
		if evaluate[bool](b, fmt.Sprintf("document.activeElement.matches(%s)", quoted(selector))) {
			return
		}
	}
	b.t.Fatalf("pressing Tab 60 times does not reach %s", selector)
}

func quoted(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

// shot takes a screenshot, which is kept as a test artifact.
func (b *tab) shot(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Error(err)
		return
	}
	file := filepath.Join(b.t.ArtifactDir(), b.look.name+"-"+name+".png")
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		b.t.Error(err)
	}
}

// settled waits until no animations but those of bars are running, so that pictures are sharp.
func (b *tab) settled() {
	b.t.Helper()
	b.await("nothing moves", `document.getAnimations().every((a) => a.effect.target.matches(".bar i"))`)
}

// signIn signs in with a token.
func (b *tab) signIn(s *site) {
	b.t.Helper()
	b.visit(s.url)
	b.await("the page asks for a token", `document.activeElement.id === "token"`)
	b.press(s.token + "\r")
	b.await("signed in", `document.querySelector("#live-text").textContent === "Live" && !document.querySelector("#body").hidden`)
}

// row returns a script for the row of the action with a title.
func row(title string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".row")].find((row) => row.querySelector("h2").textContent === %s)`, quoted(title))
}

// reach scrolls to a row, given by a script: far outside the visible part it has only a title.
func (b *tab) reach(row string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void]("void " + row + `.scrollIntoView()`))
	b.await("the row is complete", row+`.querySelector(".act")`)
}

// act clicks the button of a row.
func (b *tab) act(row string) {
	b.t.Helper()
	b.reach(row)
	b.do(click(row + `.querySelector(".act")`))
}

// setCookie sets a cookie for a whole host.
func (b *tab) setCookie(host, name, value string) {
	b.t.Helper()
	hidden := true
	call(b, network.SetCookie, network.SetCookieParams{Name: name, Value: value, Domain: host, Path: "/", HTTPOnly: &hidden})
}

// bypassPolicy lets the test run what the page's policy forbids to the page.
func (b *tab) bypassPolicy() {
	call(b, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
}
