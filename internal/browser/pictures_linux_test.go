package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/page"
	"github.com/creack/pty"

	"github.com/kettubot/kapi"
)

// pictures is the folder for the README's pictures, set by make pictures.
var pictures = flag.String("pictures", "", "write the pictures of the documentation to this folder")

// TestPictures takes the pictures for the documentation: the real page and the real terminal, showing
// the same actions. As a plain test it uses only one look.
func TestPictures(t *testing.T) {
	t.Parallel()
	looks := map[string]look{"page-light": {width: 1180, height: 1100, scale: 1.25}}
	folder := *pictures
	if folder == "" {
		folder = t.ArtifactDir()
	} else {
		looks["page-dark"] = look{width: 1180, height: 1100, scale: 1.25, dark: true}
		looks["phone-light"] = look{width: 390, height: 844, scale: 1, mobile: true}
		looks["phone-dark"] = look{width: 390, height: 844, scale: 1, mobile: true, dark: true}
	}
	s := newSite(t)
	scene(t, s)
	tabs := map[string]*tab{}
	for name, l := range looks {
		tabs[name] = open(t, l)
		tabs[name].signIn(s)
	}
	terminal := watchOnTerminal(t, s, 112, 6)
	for name, b := range tabs {
		b.await("an action has failed", `document.querySelector(".row[data-status=failed]")`)
		b.await("the remaining time is known", `document.querySelector(".row[data-status=running] .left")?.textContent.endsWith(" left")`)
		evaluate[bool](b, `(document.activeElement.blur(), true)`)
		b.settled()
		b.picture(filepath.Join(folder, name+".png"), "", map[bool]string{true: ".row:nth-child(2)", false: ".row:last-child"}[b.look.mobile])
		if name == "page-light" || name == "page-dark" {
			b.do(click(row("Resharding") + `.querySelector("h2 a")`))
			b.await("the action's page is open", `document.querySelector(".chart .line")`)
			b.settled()
			b.picture(filepath.Join(folder, strings.Replace(name, "page", "action", 1)+".png"), "", ".events")
		}
		b.quiet()
	}
	b := open(t, look{width: 1000, height: 300, scale: 1.5})
	b.visit("data:text/html," + url.PathEscape(terminal.html()))
	b.picture(filepath.Join(folder, "terminal.png"), "pre", "pre")
}

// picture writes a picture of the page from one element, or the top, to the end of another.
func (b *tab) picture(file, from, to string) {
	b.t.Helper()
	box := evaluate[map[string]float64](b, fmt.Sprintf(`((from, to) => {
		const { x, y, width } = from?.getBoundingClientRect() ?? { x: 0, y: 0, width: innerWidth };
		return { x, y, width, height: to.getBoundingClientRect().bottom - y + (from ? 0 : 5) };
	})(%s, document.querySelector(%s))`, element(from), quoted(to)))
	clip := page.Viewport{X: box["x"], Y: box["y"], Width: box["width"], Height: box["height"], Scale: 1}
	data := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{Clip: &clip}).Data
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// element returns a script for the first element that matches a selector, or null.
func element(selector string) string {
	if selector == "" {
		return "undefined"
	}
	return fmt.Sprintf("document.querySelector(%s)", quoted(selector))
}

// scene runs the actions of a typical day of a bot.
func scene(t *testing.T, s *site) {
	t.Helper()
	p := s.peer()
	start := func(spec kapi.Spec, f func(context.Context, kapi.Handle) error) {
		if _, err := p.Start(t.Context(), spec, f); err != nil {
			t.Fatal(err)
		}
	}
	moving := func(from, step float64, state func(float64) string) func(context.Context, kapi.Handle) error {
		return func(ctx context.Context, h kapi.Handle) error {
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for at := from; ; at += step {
				h.SetProgress(min(at, 0.97))
				h.SetState(state(at))
				select {
				case <-tick.C:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
	}
	start(kapi.Spec{Title: "Migrate settings", Description: "Guild settings from version 2 to version 3.", Keys: []string{"settings"}},
		func(ctx context.Context, h kapi.Handle) error {
			h.SetProgress(0.8)
			select { // it is well under way by then
			case <-time.After(4 * time.Second):
			case <-ctx.Done():
			}
			return errors.New("table settings_v3: duplicate key at row 80,117")
		})
	start(kapi.Spec{Title: "Nightly backup", Description: "Dumps every database and sends them to the other site.", Keys: []string{"backup:db1"}},
		func(ctx context.Context, h kapi.Handle) error {
			h.SetProgress(0.35)
			if err := h.Impacted("db1 answers slowly: 2.4 s a page"); err != nil {
				return err
			}
			return forever(ctx, h)
		})
	start(kapi.Spec{Title: "Resharding", Description: "Moves slots 5461 to 10922 to the new shards.", Keys: []string{"reshard", "deploy"}},
		moving(0.41, 0.0011, func(at float64) string { return fmt.Sprintf("slot %d of 10922", 5461+int(at*5461)) }))
	start(kapi.Spec{Title: "Guild audit", Keys: []string{"audit"}}, func(ctx context.Context, h kapi.Handle) error {
		h.SetState("reading the audit log of 4,211 guilds")
		return forever(ctx, h)
	})
	start(kapi.Spec{Title: "Deploy 2026.11", Keys: []string{"deploy"}, Wait: -1}, forever)
}

// A screen is what a program has drawn on a terminal.
type screen struct {
	rows   [][]cell
	x, y   int
	colour string
	rest   string // the start of an incomplete sequence
}

type cell struct {
	r      rune
	colour string
}

// watchOnTerminal has kapi watch draw on a terminal of that width until it shows that many rows,
// including the command line, and remaining times are known.
func watchOnTerminal(t *testing.T, s *site, width, rows int) *screen {
	t.Helper()
	cmd := s.command("watch")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "NO_COLOR=")
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: uint16(width)})
	if err != nil {
		t.Fatal(err)
	}
	drawn := &screen{}
	drawn.write("$ kapi watch\r\n")
	pieces := make(chan string)
	go func() {
		defer close(pieces)
		buffer := make([]byte, 64<<10)
		for {
			n, err := master.Read(buffer)
			if n > 0 {
				pieces <- string(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = master.Close()
		for range pieces { // the last pieces
		}
	}()
	for end := time.After(patience); ; {
		select {
		case piece := <-pieces:
			drawn.write(piece)
		case <-end:
			t.Fatalf("the terminal shows\n%s", drawn.text())
		}
		if text := drawn.text(); strings.Contains(text, " left") && strings.Count(text, "\n") >= rows-1 && drawn.x == 0 {
			return drawn
		}
	}
}

// write handles a program's output: text, and the few sequences that kapi watch uses. An incomplete
// sequence waits for its rest.
func (s *screen) write(text string) {
	text = s.rest + text
	for text != "" && utf8.FullRuneInString(text) {
		r, size := utf8.DecodeRuneInString(text)
		switch r {
		case '\x1b':
			end := strings.IndexFunc(text, func(r rune) bool { return r >= '@' && r <= '~' && r != '[' })
			if end < 0 {
				s.rest = text
				return
			}
			s.control(strings.TrimPrefix(text[:end], "\x1b["), text[end])
			size = end + 1
		case '\r':
			s.x = 0
		case '\n':
			s.y++
		default:
			s.put(r)
		}
		text = text[size:]
	}
	s.rest = text
}

func (s *screen) put(r rune) {
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, nil)
	}
	for len(s.rows[s.y]) <= s.x {
		s.rows[s.y] = append(s.rows[s.y], cell{' ', ""})
	}
	s.rows[s.y][s.x] = cell{r, s.colour}
	s.x++
}

func (s *screen) control(parameter string, what byte) {
	switch what {
	case 'A':
		n := 1
		_, _ = fmt.Sscan(parameter, &n)
		s.y -= n
	case 'J':
		s.rows = s.rows[:min(s.y, len(s.rows))]
	case 'm':
		s.colour = strings.TrimPrefix(parameter, "0")
	}
}

func (s *screen) text() string {
	var b strings.Builder
	for _, row := range s.rows {
		for _, c := range row {
			b.WriteRune(c.r)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// html returns the screen as HTML that looks like a terminal.
func (s *screen) html() string {
	var b strings.Builder
	b.WriteString(`<!doctype html><meta charset="utf-8"><style>body{margin:0}pre{display:inline-block;margin:0;padding:18px 22px;` +
		`background:#101316;color:#e9eaec;font:13px/1.55 "DejaVu Sans Mono",monospace}.c31{color:#ff9288}.c32{color:#83d49c}.c33{color:#f2b960}.c36{color:#6fcfd6}</style><pre>`)
	for _, row := range s.rows {
		for _, c := range row {
			if c.colour != "" {
				fmt.Fprintf(&b, `<span class="c%s">%s</span>`, html.EscapeString(c.colour), html.EscapeString(string(c.r)))
			} else {
				b.WriteString(html.EscapeString(string(c.r)))
			}
		}
		b.WriteByte('\n')
	}
	return b.String() + "</pre>"
}
