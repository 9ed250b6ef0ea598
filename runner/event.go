package runner

import "time"

// State is what became of a step or a run.
type State string

// The states. Done and Reused are good ends of a step, Done is that of a run.
const (
	Waiting     State = "waiting"
	Running     State = "running"
	Done        State = "done"
	Reused      State = "reused"
	Failed      State = "failed"
	Skipped     State = "skipped"     // something it needs failed, or was left out
	Interrupted State = "interrupted" // Ctrl-C or SIGTERM
	Died        State = "died"        // a run whose process is gone
)

// Event tells that something happened in a run.
type Event struct {
	Time  time.Time `json:"time"`
	Run   string    `json:"run"`
	Event string    `json:"event"` // run, start, retry, end (of a step), finish (of the run)
	Step  string    `json:"step,omitempty"`
	State State     `json:"state,omitempty"`
	// Attempt counts from 1.
	Attempt int `json:"attempt,omitempty"`
	// Seconds is how long the step, or the run, took.
	Seconds float64 `json:"seconds,omitempty"`
	// Why says in words why a step ran or was reused, or was skipped.
	Why   string `json:"why,omitempty"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Log is the path of the step's log.
	Log string `json:"log,omitempty"`
	// Tail are the last lines of the log of a step that failed.
	Tail []string `json:"tail,omitempty"`
	// Steps counts the steps of the run, in the event "run".
	Steps int `json:"steps,omitempty"`
	// Key is the step's.
	Key string `json:"key,omitempty"`
	// Outputs are those of the pipeline, in the event "finish".
	Outputs []OutputRecord `json:"outputs,omitempty"`
	// Values are the value outputs of a step that ended well.
	Values map[string]any `json:"values,omitempty"`
}
