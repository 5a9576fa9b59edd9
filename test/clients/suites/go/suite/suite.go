// Package suite is what the suites in Go share: it runs the cases named on the command line, several at a time, and prints a JSON
// line for each.
package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const (
	caseSeconds = 120
	together    = 8 // most of a case is waiting: for a rebalance, a heartbeat, a timeout
)

// Run is one run of one case: the broker's address, and names that no other case and no earlier run has.
type Run struct {
	Bootstrap, Topic, Group, TransactionalID string
}

type failure struct{ text string }

// Check fails the case, on its own goroutine, unless `holds`.
func Check(holds bool, format string, arguments ...any) {
	if !holds {
		panic(failure{fmt.Sprintf(format, arguments...) + "\n" + string(debug.Stack())})
	}
}

// OK fails the case when there is an error.
func OK(err error) {
	Check(err == nil, "%v", err)
}

// Get is a value without its error.
func Get[T any](value T, err error) T {
	OK(err)
	return value
}

// Expect fails the case unless the two are equal.
func Expect(what string, found, wanted any) {
	text := func(v any) string {
		s := fmt.Sprintf("%v", v)
		if len(s) > 400 {
			s = s[:400] + "..."
		}
		return s
	}
	Check(reflect.DeepEqual(found, wanted), "%s: found %s, expected %s", what, text(found), text(wanted))
}

// Until waits until the condition holds.
func Until(what string, seconds int, holds func() bool) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for !holds() {
		Check(time.Now().Before(end), "%s did not come true in %d s", what, seconds)
		time.Sleep(50 * time.Millisecond)
	}
}

// Numbers is "from" to "to"-1 as text.
func Numbers(from, to int) []string {
	all := []string{}
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

type result struct {
	Case    string  `json:"case"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`
	Seconds float64 `json:"seconds"`
}

func run(name string, body func(*Run), t *Run) result {
	began := time.Now()
	done := make(chan string, 1)
	go func() {
		defer func() {
			switch thrown := recover().(type) {
			case nil:
				done <- ""
			case failure:
				done <- thrown.text
			default:
				done <- fmt.Sprintf("%v\n%s", thrown, debug.Stack())
			}
		}()
		body(t)
	}()
	var detail string
	select {
	case detail = <-done:
	case <-time.After(caseSeconds * time.Second):
		detail = fmt.Sprintf("not done after %d s", caseSeconds)
	}
	return result{name, detail == "", detail, time.Since(began).Seconds()}
}

// Case is one case.
type Case struct {
	Name string
	Body func(*Run)
}

// Main runs: PROGRAM BOOTSTRAP [CASE...]
func Main(client string, cases []Case) {
	wanted := os.Args[2:]
	if len(wanted) == 0 {
		for _, c := range cases {
			wanted = append(wanted, c.Name)
		}
	}
	bodies := map[string]func(*Run){}
	for _, c := range cases {
		bodies[c.Name] = c.Body
	}
	slots := make(chan struct{}, together)
	var all sync.WaitGroup
	var printing sync.Mutex
	for _, name := range wanted {
		all.Add(1)
		slots <- struct{}{}
		go func() {
			defer all.Done()
			topic := strings.ReplaceAll(fmt.Sprintf("%s-%s-%d", client, name, os.Getpid()), "_", "-")
			done := run(name, bodies[name], &Run{os.Args[1], topic, topic + "-group", topic + "-tx"})
			<-slots
			printing.Lock()
			defer printing.Unlock()
			line, _ := json.Marshal(done)
			fmt.Println(string(line))
		}()
	}
	all.Wait()
}
