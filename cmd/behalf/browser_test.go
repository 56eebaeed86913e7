package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func browserHere() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func headless(dir string) []string {
	return []string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + dir,
	}
}

// dom is a page as a browser has it once its script has run.
func dom(t *testing.T, browser, size, url string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, browser, append(headless(t.TempDir()), "--window-size="+size, "--virtual-time-budget=10000", "--dump-dom", url)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", browser, url, err)
	}
	return string(out)
}

// tab is a page of a browser that a test uses as a person would. It speaks the
// DevTools protocol: messages of JSON, each ended by a zero byte.
type tab struct {
	t       *testing.T
	to      *os.File
	from    *os.File
	read    []byte
	session string
	asked   int
}

func openTab(t *testing.T, browser string) *tab {
	t.Helper()
	// Not of t: it would be removed before the browser has left it alone.
	dir, err := os.MkdirTemp("", "behalf-browser-")
	if err != nil {
		t.Fatal(err)
	}
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(browser, append(headless(dir), "--remote-debugging-pipe", "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirs, answers} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	_ = answers.Close()
	b := &tab{t: t, to: to, from: from}
	t.Cleanup(func() {
		// By itself it ends what it has started; killed, that would go on writing.
		_, _ = to.Write([]byte("{\"id\":0,\"method\":\"Browser.close\"}\x00"))
		go func() { _, _ = io.Copy(io.Discard, from) }()
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		_ = to.Close()
		_ = from.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("the browser's files are left: %v", err)
		}
	})
	if err := from.SetReadDeadline(time.Now().Add(4 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})["targetId"]
	b.session = b.call("Target.attachToTarget", map[string]any{"targetId": target, "flatten": true})["sessionId"].(string)
	b.call("Page.enable", nil)
	return b
}

func (b *tab) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	result, fault := b.ask(method, params)
	if fault != nil {
		b.t.Fatalf("%s: %v", method, fault)
	}
	return result
}

// ask is call for what the browser may refuse.
func (b *tab) ask(method string, params map[string]any) (result map[string]any, fault any) {
	b.t.Helper()
	b.asked++
	message, err := json.Marshal(map[string]any{"id": b.asked, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		message, err = json.Marshal(map[string]any{"id": b.asked, "method": method, "params": params})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(message, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		for !bytes.ContainsRune(b.read, 0) {
			more := make([]byte, 64<<10)
			n, err := b.from.Read(more)
			if err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
			b.read = append(b.read, more[:n]...)
		}
		line, rest, _ := bytes.Cut(b.read, []byte{0})
		b.read = rest
		var answer struct {
			ID     int
			Result map[string]any
			Error  any
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID == b.asked { // all else is news that nobody waits for
			return answer.Result, answer.Error
		}
	}
}

// size is how wide the page is, as a phone's or as a desktop's.
func (b *tab) size(width int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600})
}

func (b *tab) visit(address string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": address})
}

// run runs a script from outside of the page, which may have its own turned off.
// One that leads to another page, or meets one coming, may come to nothing.
func (b *tab) run(script string) any {
	b.t.Helper()
	answer, _ := b.ask("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true})
	result, _ := answer["result"].(map[string]any)
	return result["value"]
}

// sees waits until the page shows a text.
func (b *tab) sees(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer stop()
	shown := func() bool {
		return b.run("!!document.body && document.readyState === 'complete' && document.body.innerText.includes("+string(quoted)+")") == true
	}
	if err := waitUntil(ctx, shown); err != nil {
		b.t.Fatalf("got %v, want %q on the page", b.run("document.body.innerText"), text)
	}
}

// fits fails the test if the page is wider than what it is shown on.
func (b *tab) fits(what string) {
	b.t.Helper()
	if wide := b.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != 0.0 {
		b.t.Errorf("%s: the page is %v px wider than its window", what, wide)
	}
}

// TestThePageIsUsed opens a passport and previews on it as people do, with and
// without scripts, on a phone and on a desktop, and when the server is not there.
func TestThePageIsUsed(t *testing.T) {
	t.Parallel()
	browser := browserHere()
	if browser == "" {
		t.Skip("no Chromium here; the pages themselves are compared with golden files in handlers")
	}
	s := startServer(t, t.TempDir())
	s.must(201, "POST", "/v1/agents", testToken, `{"agentId":"agent_ollie","name":"Ollie"}`)
	long := strings.Repeat("x", 120)
	s.must(201, "POST", "/v1/agents/agent_ollie/permissions", testToken, `{"action":"purchase","resource":["`+long+`/**"],"vendors":["coachella.com"],"maxAmount":"500.00","currency":"USD"}`)
	s.must(201, "POST", "/v1/agents/agent_ollie/permissions", testToken, `{"blockedActions":["`+long+`"]}`)
	var link struct{ URL string }
	if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/agents/agent_ollie/links", testToken, "")), &link); err != nil {
		t.Fatal(err)
	}
	// A way to the server that can be shut.
	origin, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	var shut atomic.Bool
	onward := httputil.NewSingleHostReverseProxy(origin)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shut.Load() && r.Method == "POST" {
			panic(http.ErrAbortHandler)
		}
		onward.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	address := door.URL + strings.TrimPrefix(link.URL, s.url)
	page, token, _ := strings.Cut(address, "#")

	b := openTab(t, browser)
	for _, width := range []int{390, 1280} {
		b.size(width)
		b.visit("about:blank")
		b.visit(address)
		b.sees("Would it be allowed?")
		b.fits("the passport")
		b.run(`document.querySelector('[name=action]').value = 'purchase'; document.querySelector('[name=vendor]').value = 'coachella.com'
			document.querySelector('[name=resource]').value = '` + long + `/y'; document.querySelector('[name=amount]').value = '742'; document.querySelector('#preview button').click()`)
		b.sees("AMOUNT_EXCEEDS_LIMIT")
		b.fits("a preview")
		if at := b.run("document.activeElement.id"); at != "result" {
			t.Errorf("got the focus at %v, want it at the result", at)
		}
	}
	shut.Store(true)
	b.run(`document.querySelector('#preview button').click()`)
	b.sees("The passport can't be read now")
	shut.Store(false)
	b.run(`document.querySelector('main button').click()`)
	b.sees("Would it be allowed?")

	// The token put in by hand, twice the same.
	open := `document.querySelector('[name=token]').value = '` + token + `'; document.querySelector('#open button').click()`
	shut.Store(true)
	b.visit("about:blank")
	b.visit(page + "#bhf_pass_wrong")
	b.sees("The passport can't be read now")
	shut.Store(false)
	b.run(`document.querySelector('main button').click()`)
	b.sees("This link shows nothing")
	b.run(`history.replaceState(null, "", "#` + token + `")`)
	b.run(open)
	b.sees("Would it be allowed?")

	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	b.visit("about:blank")
	b.visit(page)
	b.sees("Without scripts, put it in here.")
	b.run(open)
	b.sees("Would it be allowed?")
	b.run(`document.querySelector('[name=action]').value = '` + long + `'; document.querySelector('#preview button').click()`)
	b.sees("ACTION_BLOCKED")
	b.fits("a preview without scripts")
	if address := b.run("location.href"); address != page {
		t.Errorf("got the address %v, want nothing added to it", address)
	}
}
