package httpapi

import (
	"encoding/json"
	"net/http"
)

// answer writes a JSON answer. An error of the connection is the client's matter.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error": "the answer could not be written as JSON", "code": "`+CodeFailed+`"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// fail writes what is not a success.
func fail(w http.ResponseWriter, status int, code, text string) {
	answer(w, status, Failure{Error: text, Code: code})
}
