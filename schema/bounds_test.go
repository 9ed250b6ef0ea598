package schema

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestBounds holds the parser to bounded time and memory on texts that were
// made to cost more. Each is made here, since none belongs into a repository.
func TestBounds(t *testing.T) {
	const head = "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: big\n"
	nested := func(open, inner, end string, n int) string {
		return head + "steps:\n " + strings.Repeat(open, n) + inner + strings.Repeat(end, n) + "\n"
	}
	var stairs strings.Builder
	for i := range 2000 {
		stairs.WriteString("\n" + strings.Repeat(" ", i+1) + "a:")
	}
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 20 {
		prev, next := "*a"+string(rune('A'+i-1)), "a"+string(rune('A'+i))
		if i == 0 {
			prev = "*a0"
		}
		bomb.WriteString(next + ": &" + next + " [" + strings.Repeat(prev+", ", 9) + prev + "]\n")
	}
	for name, c := range map[string]struct {
		text func() string
		want string // a part of the first message
	}{
		"200 MB":                   {func() string { return strings.Repeat("# a comment line of 32 characters\n", 200<<20/34) }, "the file has 209715196 bytes; at most 67108864 are read"},
		"64 MB in one line":        {func() string { return head + "description: " + strings.Repeat("x", MaxPipeline-len(head)-20) + "\n" }, "a text of more than 1048576 bytes"},
		"64 MB in one quoted line": {func() string { return head + "steps: \"" + strings.Repeat(`\n`, MaxPipeline/2-50) + "\"\n" }, "a text of more"},
		"64 MB of elements":        {func() string { return head + "steps: [" + strings.Repeat("a,", MaxPipeline/2-50) + "a]\n" }, "lines and elements"},
		"64 MB of empty brackets":  {func() string { return head + "steps: [" + strings.Repeat("[],", MaxPipeline/3-50) + "[]]\n" }, "lines and elements"},
		"64 MB of lines":           {func() string { return head + "steps:\n" + strings.Repeat("- a\n", MaxPipeline/4-50) }, "lines and elements"},
		"64 MB of keys":            {func() string { return head + strings.Repeat("?\n", MaxPipeline/2-50) }, "lines and elements"},
		"64 MB of comments":        {func() string { return head + strings.Repeat("#\n", MaxPipeline/2-50) }, "lines and elements"},
		"64 MB of braces":          {func() string { return head + "steps: " + strings.Repeat("{", MaxPipeline-100) + "\n" }, "nests deeper"},
		"64 MB of brackets apart":  {func() string { return head + "steps: " + strings.Repeat("[a,", MaxPipeline/3-100) + "\n" }, "nests deeper"},
		"4 MB of blanks": {func() string {
			return head + "steps:\n" + strings.Repeat(strings.Repeat(" ", 99)+"\n", 40_000)
		}, "there is no value"},
		"a deep flow":             {func() string { return nested("[", "x", "]", 10_000) }, "nests deeper"},
		"a deep flow of mappings": {func() string { return nested("{a: ", "x", "}", 10_000) }, "nests deeper"},
		"a deep flow that is few": {func() string { return nested("{a: ", "x", "}", 1000) }, "nests deeper"},
		"a deep block":            {func() string { return nested("- ", "x", "", 10_000) }, "nests deeper"},
		"deep keys":               {func() string { return nested("? ", "x", "", 10_000) }, "nests deeper"},
		"deep stairs":             {func() string { return head + "steps:" + stairs.String() + " x\n" }, "nests deeper"},
		"an alias bomb":           {func() string { return head + bomb.String() }, "the aliases stand for"},
		"many aliases":            {func() string { return head + "a: &a x\nsteps: [" + strings.Repeat("*a, ", 200_000) + "*a]\n" }, "the aliases stand for"},
		"many problems":           {func() string { return head + "steps:\n" + strings.Repeat("  a: ~\n", 20_000) }, "there is no value"},
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(c.text())
			stop := watchHeap()
			begin := time.Now()
			_, diags := Parse("big.yaml", data)
			took, grown := time.Since(begin), stop()
			if len(diags) == 0 || !strings.Contains(diags[0].Message, c.want) {
				t.Errorf("got %v, want %q", diags[:min(1, len(diags))], c.want)
			}
			t.Logf("%v, %d MiB, %d diagnostics", took, grown>>20, len(diags))
			// Half a second at most on a machine that does nothing else; a text
			// that is read again and again takes minutes.
			if took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if grown > 256<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
		})
	}
}

// watchHeap begins to watch the heap; the function it returns says by how much
// it had grown at most.
func watchHeap() func() uint64 {
	read := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before := read()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		top := before
		for {
			select {
			case <-done:
				most <- max(top, read())
				return
			case <-time.After(5 * time.Millisecond):
				top = max(top, read())
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-most - before
	}
}
