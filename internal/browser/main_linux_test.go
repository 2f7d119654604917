package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/kettubot/kapi/internal/kapitest"
)

// rebound is the host name of a foreign page that was made to resolve to this machine.
const rebound = "rebound.example"

// All tests share the binary, built the way it is released, and one browser. Each test has its own
// browser context, with its own cookies.
var (
	binary  string
	browser context.Context
)

func TestMain(m *testing.M) {
	stop, err := setUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		stop()
		os.Exit(code)
	}), goleak.IgnoreCurrent())
}

func setUp() (stop func(), err error) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // they mostly wait
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kapi-browser-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	if binary, err = kapitest.Build(dir); err != nil {
		return nil, err
	}
	path, err := chromium()
	if err != nil {
		return nil, err
	}
	allocator, cancelAll := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP "+rebound+" 127.0.0.1"),
		chromedp.UserDataDir(filepath.Join(dir, "profile")))...)
	var cancel context.CancelFunc
	browser, cancel = chromedp.NewContext(allocator)
	stop = func() {
		_ = chromedp.Cancel(browser)
		cancel()
		cancelAll()
		_ = os.RemoveAll(dir)
	}
	if err := chromedp.Do(browser); err != nil { // starts the browser
		stop()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return stop, nil
}

// chromium finds Debian's chromium, preferably the headless shell: it is the same without the window
// pages, which nobody sees here, and takes half the processor time.
func chromium() (path string, err error) {
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("these tests need Debian's package chromium-headless-shell, or chromium (scripts/test-deps installs it): %w", err)
}
