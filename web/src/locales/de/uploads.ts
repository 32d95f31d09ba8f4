/** Texts in German of uploads. */

import type { UploadTexts } from "../en/uploads";

const plural = (count: number, one: string, many: string) => (count === 1 ? one : many);
const number = (value: number) => value.toLocaleString("de");

export const uploads: UploadTexts = {
  title: "Uploads",
  pastedName: (time) => `Eingefügt ${time}`,
  someVerified: (verified, count) => `${number(verified)} von ${number(count)} geprüft`,
  allVerified: (count) => (count === 1 ? "1 Datei geprüft" : `Alle ${number(count)} geprüft`),
  status: (verified, count, failed) => `${number(verified)} von ${number(count)} Dateien geprüft.${failed > 0 ? ` ${number(failed)} fehlgeschlagen.` : ""}`,
  failedCount: (count) => `${number(count)} ${plural(count, "Upload", "Uploads")} fehlgeschlagen`,
  allProgress: "Alle Uploads",
  progressOf: (name) => `Fortschritt von ${name}`,
  waiting: "Wartet",
  hashing: "Prüfsumme wird berechnet…",
  checking: "Prüfsumme wird verglichen…",
  verified: "Angekommen und geprüft",
  cancelling: "Wird abgebrochen…",
  cancelled: "Abgebrochen",
  pausedAt: (of) => `Angehalten bei ${of}`,
  retrying: (of) => `Keine Antwort, neuer Versuch · ${of}`,
  needsFile: (size) => `Datei erneut wählen, dann geht es weiter · ${size}`,
  tooLarge: (size) => `Zu groß: ${size} ist mehr, als dieser Server annimmt`,
  codes: {
    connection_lost: "Die Verbindung ist abgebrochen. Was gesendet wurde, bleibt.",
    file_changed: "Während des Sendens geändert. Nichts wurde gespeichert.",
    file_unreadable: "Die Datei ist nicht mehr lesbar. Wählen Sie sie erneut.",
    different_file: "Das ist eine andere Datei: Name, Größe oder Zeit weichen ab.",
    storage_refused: "Der Speicher hat die Datei abgelehnt. Versuchen Sie es erneut.",
    hashing_failed: "Die Prüfsumme ließ sich nicht berechnen. Versuchen Sie es erneut.",
    quota_exceeded: "Der Platz reicht nicht. Leeren Sie den Papierkorb oder löschen Sie Dateien, dann versuchen Sie es erneut.",
  },
  pauseAll: "Alle anhalten",
  resumeAll: "Alle fortsetzen",
  fold: "Verkleinern",
  closeTray: "Schließen",
  pauseOne: (name) => `${name} anhalten`,
  resumeOne: (name) => `${name} fortsetzen`,
  cancelOne: (name) => `${name} abbrechen`,
  dismissOne: (name) => `${name} ausblenden`,
  chooseAgain: "Datei wählen",
  more: (count) => `und ${number(count)} weitere`,
  createLink: "Link erstellen",
  linkHint: (count) => `${plural(count, "Diese Datei", `Diese ${number(count)} Dateien`)} mit einem Link teilen.`,
  linkHintUnfinished: (count) => `Ein Link von jetzt enthält die ${plural(count, "geprüfte Datei", `${number(count)} geprüften Dateien`)}.`,
};
