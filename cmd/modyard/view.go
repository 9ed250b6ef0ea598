package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// The rules of the terminal:
//   - What is happening goes to stderr, results go to stdout.
//   - Where stderr is a terminal, running steps stand in a block at the bottom
//     that is drawn anew ten times a second; ended steps scroll up above it.
//   - Elsewhere, and with NO_COLOR or TERM=dumb, each step is one plain line.
//   - With --json each event is a line of JSON on stdout, and nothing else.

// view shows the events of a run.
type view interface {
	event(runner.Event)
	close()
}

func (a *app) view(p *runner.Plan, asJSON bool) view {
	if asJSON {
		return &jsonView{json.NewEncoder(a.out)}
	}
	width := 4
	for _, s := range p.Steps {
		width = max(width, min(32, len(s.Name)))
	}
	lines := lineView{out: a.err, name: p.Name, width: width}
	if f, is := a.terminal(); is {
		_, plain := a.lookup("NO_COLOR")
		lines.color = !plain
		return newLiveView(lines, f)
	}
	return &lines
}

// terminal is stderr where it is a terminal that can draw.
func (a *app) terminal() (*os.File, bool) {
	f, isFile := a.err.(*os.File)
	dumb, _ := a.lookup("TERM")
	return f, isFile && term.IsTerminal(int(f.Fd())) && dumb != "dumb"
}

type jsonView struct{ enc *json.Encoder }

func (v *jsonView) event(e runner.Event) { _ = v.enc.Encode(e) }
func (v *jsonView) close()               {}

// lineView writes a line for every step that ended.
type lineView struct {
	out   io.Writer
	name  string
	width int
	color bool

	total, ran, reused, failed, skipped int
}

func (v *lineView) event(e runner.Event) {
	for _, l := range v.lines(e) {
		fmt.Fprintln(v.out, l)
	}
}

func (v *lineView) close() {}

// lines are what is to be said of an event.
func (v *lineView) lines(e runner.Event) []string {
	switch e.Event {
	case "run":
		v.total = e.Steps
		return []string{fmt.Sprintf("%s: %s", v.name, count(e.Steps, "step"))}
	case "retry":
		return []string{v.line("33", e.Step, "failed", "", fmt.Sprintf("attempt %d: %s; trying again", e.Attempt, e.Error))}
	case "end":
		return v.end(e)
	case "finish":
		return []string{v.summary(e)}
	}
	return nil
}

func (v *lineView) line(color, step, state, took, text string) string {
	if v.color {
		state = "\x1b[" + color + "m" + fmt.Sprintf("%-8s", state) + "\x1b[0m"
	}
	return strings.TrimRight(fmt.Sprintf("  %-*s  %-8s  %6s  %s", v.width, step, state, took, text), " ")
}

func (v *lineView) end(e runner.Event) []string {
	took := seconds(e.Seconds)
	switch e.State {
	case runner.Done:
		v.ran++
		return []string{v.line("32", e.Step, "ran", took, joinNonEmpty(e.Why, valuesText(e.Values)))}
	case runner.Reused:
		v.reused++
		return []string{v.line("36", e.Step, "reused", "", joinNonEmpty(e.Why, valuesText(e.Values)))}
	case runner.Skipped:
		v.skipped++
		return []string{v.line("33", e.Step, "skipped", "", e.Why)}
	case runner.Interrupted:
		return []string{v.line("33", e.Step, "stopped", "", "")}
	}
	v.failed++
	out := []string{v.line("31", e.Step, "failed", took, e.Error)}
	for _, l := range e.Tail {
		out = append(out, "    | "+printable(l))
	}
	if e.Log != "" {
		out = append(out, "    log: "+e.Log)
	}
	if e.Hint != "" {
		out = append(out, "    hint: "+e.Hint)
	}
	return out
}

// printable keeps what a step prints from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 32 && r != '\t' || r == 127 {
			return -1
		}
		return r
	}, s)
}

func (v *lineView) summary(e runner.Event) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{v.ran, "ran"}, {v.reused, "reused"}, {v.failed, "failed"}, {v.skipped, "skipped"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return fmt.Sprintf("%s in %s: %s  (run %s)", e.State, seconds(e.Seconds), strings.Join(parts, ", "), e.Run)
}

func seconds(s float64) string {
	switch {
	case s < 0.0005:
		return "0s"
	case s < 1:
		return fmt.Sprintf("%.0fms", s*1000)
	case s < 100:
		return fmt.Sprintf("%.1fs", s)
	}
	return (time.Duration(s) * time.Second).String()
}

func valuesText(values map[string]any) string {
	var parts []string
	for _, name := range sortedKeys(values) {
		text := schema.Render(values[name])
		if len(text) > 40 || strings.ContainsAny(text, "\n\r\x1b") {
			continue
		}
		parts = append(parts, name+"="+text)
	}
	return strings.Join(parts, " ")
}

func joinNonEmpty(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "; ")
}

// liveView draws the running steps below what has ended.
type liveView struct {
	lineView
	tty *os.File

	mu      sync.Mutex
	running []liveStep
	drawn   int // lines of the block that stand on the screen
	done    chan struct{}
	stopped sync.WaitGroup
}

type liveStep struct {
	name, why string
	began     time.Time
	attempt   int
}

func newLiveView(l lineView, tty *os.File) *liveView {
	v := &liveView{lineView: l, tty: tty, done: make(chan struct{})}
	v.stopped.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				v.mu.Lock()
				v.draw(nil)
				v.mu.Unlock()
			case <-v.done:
				return
			}
		}
	})
	return v
}

func (v *liveView) event(e runner.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Event {
	case "start":
		v.remove(e.Step)
		v.running = append(v.running, liveStep{e.Step, e.Why, e.Time, e.Attempt})
	case "end", "retry":
		v.remove(e.Step)
	case "finish":
		v.running = nil
	}
	v.draw(v.lines(e))
}

func (v *liveView) remove(step string) {
	for i, s := range v.running {
		if s.name == step {
			v.running = append(v.running[:i], v.running[i+1:]...)
			return
		}
	}
}

const spinner = `|/-\`

// draw writes lines above the block and the block anew.
func (v *liveView) draw(lines []string) {
	width, height, err := term.GetSize(int(v.tty.Fd()))
	if err != nil || width < 20 {
		width, height = 80, 24
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	b.WriteString("\r\x1b[J")
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	v.drawn = 0
	most := max(1, min(len(v.running), height/2))
	for i, s := range v.running {
		var text string
		if i == most-1 && len(v.running) > most {
			text = fmt.Sprintf("  … and %d more", len(v.running)-i)
		} else {
			took := time.Since(s.began)
			text = fmt.Sprintf("%c %-*s  running   %6s  %s", spinner[int(took/(100*time.Millisecond))%len(spinner)], v.width, s.name, seconds(took.Seconds()), s.why)
			if s.attempt > 1 {
				text += fmt.Sprintf(" (attempt %d)", s.attempt)
			}
		}
		if r := []rune(text); len(r) >= width {
			text = string(r[:width-1])
		}
		b.WriteString(text + "\n")
		v.drawn++
		if i == most-1 {
			break
		}
	}
	_, _ = io.WriteString(v.tty, b.String())
}

func (v *liveView) close() {
	close(v.done)
	v.stopped.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running = nil
	v.draw(nil)
}
