//! What pages say, in each language.

/// The texts of one language. `{n}`, `{a}` and `{b}` stand for what is put in.
#[derive(Debug)]
pub(crate) struct Text {
    /// The language's code.
    pub(crate) code: &'static str,
    pub(crate) ban_title: &'static str,
    pub(crate) ban: &'static str,
    pub(crate) forbidden: &'static str,
    pub(crate) restrict_title: &'static str,
    pub(crate) restrict: &'static str,
    pub(crate) throttle_title: &'static str,
    pub(crate) throttle: &'static str,
    pub(crate) unavailable_title: &'static str,
    pub(crate) unavailable: &'static str,
    pub(crate) challenge_title: &'static str,
    pub(crate) challenge: &'static str,
    pub(crate) working: &'static str,
    pub(crate) done: &'static str,
    pub(crate) not_kept: &'static str,
    pub(crate) again: &'static str,
    pub(crate) other: &'static str,
    pub(crate) other_how: &'static str,
    pub(crate) question: &'static str,
    pub(crate) send: &'static str,
    pub(crate) thanks_title: &'static str,
    pub(crate) thanks: &'static str,
    pub(crate) go_on: &'static str,
    pub(crate) decision: &'static str,
    pub(crate) address: &'static str,
    pub(crate) contact: &'static str,
    /// The numbers from one to nine in words: a question that is a little harder for programs.
    pub(crate) numbers: [&'static str; 9],
}

/// The languages; the first one is for who asks for none of them.
pub(crate) static LANGUAGES: [Text; 4] = [
    Text {
        code: "en",
        ban_title: "Access refused",
        ban: "Requests from your address are refused for now, because of what was seen coming from it or from its network.",
        forbidden: "This page is not open to you.",
        restrict_title: "Not possible right now",
        restrict: "From your address this site can only be read for now. This part of it, or this kind of request, is not open to you.",
        throttle_title: "A little slower, please",
        throttle: "More requests came from your address than are taken for now. Please try again in {n} s.",
        unavailable_title: "Not available right now",
        unavailable: "This site cannot answer for a moment. Please try again shortly.",
        challenge_title: "One moment, please",
        challenge: "This site has your browser do a small calculation before it lets you in. Nothing about you is collected, and you need not do anything.",
        working: "Calculating…",
        done: "Done. You are being sent on.",
        not_kept: "What you sent could not be kept. Please send it once more afterwards.",
        again: "That did not work. Please try once more.",
        other: "It does not work, or you have no JavaScript?",
        other_how: "Then answer this question. The button appears after {n} s.",
        question: "How much is {a} plus {b}, in digits?",
        send: "Send",
        thanks_title: "Thank you",
        thanks: "What you sent goes on to the site now.",
        go_on: "Go on",
        decision: "Decision",
        address: "Your address",
        contact: "Questions",
        numbers: ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    },
    Text {
        code: "de",
        ban_title: "Zugriff verweigert",
        ban: "Anfragen von Ihrer Adresse werden zurzeit abgewiesen, weil von ihr oder aus ihrem Netz Auffälliges kam.",
        forbidden: "Diese Seite ist für Sie nicht freigegeben.",
        restrict_title: "Zurzeit nicht möglich",
        restrict: "Von Ihrer Adresse aus kann diese Website zurzeit nur gelesen werden. Dieser Bereich oder diese Art von Anfrage ist nicht freigegeben.",
        throttle_title: "Bitte etwas langsamer",
        throttle: "Von Ihrer Adresse kamen mehr Anfragen, als zurzeit angenommen werden. Bitte versuchen Sie es in {n} s wieder.",
        unavailable_title: "Zurzeit nicht erreichbar",
        unavailable: "Diese Website kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
        challenge_title: "Einen Moment bitte",
        challenge: "Bevor es weitergeht, lässt diese Website Ihren Browser eine kleine Rechnung lösen. Dabei werden keine Daten über Sie gesammelt, und Sie müssen nichts tun.",
        working: "Es wird gerechnet …",
        done: "Fertig. Es geht weiter.",
        not_kept: "Was Sie gesendet haben, konnte nicht aufbewahrt werden. Bitte senden Sie es danach noch einmal.",
        again: "Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.",
        other: "Es funktioniert nicht, oder Sie haben kein JavaScript?",
        other_how: "Dann beantworten Sie diese Frage. Der Knopf erscheint nach {n} s.",
        question: "Wie viel ist {a} plus {b}, in Ziffern?",
        send: "Senden",
        thanks_title: "Vielen Dank",
        thanks: "Was Sie gesendet haben, geht jetzt an die Website.",
        go_on: "Weiter",
        decision: "Entscheidung",
        address: "Ihre Adresse",
        contact: "Fragen",
        numbers: ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    },
    Text {
        code: "fr",
        ban_title: "Accès refusé",
        ban: "Les requêtes venant de votre adresse sont refusées pour le moment, en raison de ce qui en est venu ou est venu de son réseau.",
        forbidden: "Cette page ne vous est pas ouverte.",
        restrict_title: "Impossible pour le moment",
        restrict: "Depuis votre adresse, ce site ne peut être que lu pour le moment. Cette partie ou ce type de requête ne vous est pas ouvert.",
        throttle_title: "Un peu moins vite, s’il vous plaît",
        throttle: "Trop de requêtes sont venues de votre adresse. Veuillez réessayer dans {n} s.",
        unavailable_title: "Indisponible pour le moment",
        unavailable: "Ce site ne peut pas répondre pour l’instant. Veuillez réessayer sous peu.",
        challenge_title: "Un instant, s’il vous plaît",
        challenge: "Avant de vous laisser entrer, ce site demande à votre navigateur un petit calcul. Rien n’est collecté sur vous, et vous n’avez rien à faire.",
        working: "Calcul en cours…",
        done: "C’est fait. Vous êtes redirigé.",
        not_kept: "Ce que vous avez envoyé n’a pas pu être conservé. Veuillez l’envoyer de nouveau ensuite.",
        again: "Cela n’a pas fonctionné. Veuillez réessayer.",
        other: "Cela ne marche pas, ou vous n’avez pas JavaScript ?",
        other_how: "Répondez alors à cette question. Le bouton apparaît après {n} s.",
        question: "Combien font {a} plus {b}, en chiffres ?",
        send: "Envoyer",
        thanks_title: "Merci",
        thanks: "Ce que vous avez envoyé est transmis au site.",
        go_on: "Continuer",
        decision: "Décision",
        address: "Votre adresse",
        contact: "Questions",
        numbers: ["un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
    },
    Text {
        code: "es",
        ban_title: "Acceso denegado",
        ban: "Las peticiones desde su dirección se rechazan por ahora, por lo que llegó desde ella o desde su red.",
        forbidden: "Esta página no está abierta para usted.",
        restrict_title: "No es posible por ahora",
        restrict: "Desde su dirección, por ahora este sitio solo se puede leer. Esta parte o este tipo de petición no está permitido.",
        throttle_title: "Un poco más despacio, por favor",
        throttle: "Llegaron demasiadas peticiones desde su dirección. Vuelva a intentarlo dentro de {n} s.",
        unavailable_title: "No disponible por ahora",
        unavailable: "Este sitio no puede responder en este momento. Vuelva a intentarlo en breve.",
        challenge_title: "Un momento, por favor",
        challenge: "Antes de dejarle entrar, este sitio pide a su navegador un pequeño cálculo. No se recoge nada sobre usted y no tiene que hacer nada.",
        working: "Calculando…",
        done: "Listo. Ya continúa.",
        not_kept: "Lo que envió no se pudo conservar. Envíelo de nuevo después, por favor.",
        again: "No ha funcionado. Inténtelo de nuevo, por favor.",
        other: "¿No funciona o no tiene JavaScript?",
        other_how: "Entonces responda a esta pregunta. El botón aparece después de {n} s.",
        question: "¿Cuánto es {a} más {b}, en cifras?",
        send: "Enviar",
        thanks_title: "Gracias",
        thanks: "Lo que envió se transmite ahora al sitio.",
        go_on: "Continuar",
        decision: "Decisión",
        address: "Su dirección",
        contact: "Preguntas",
        numbers: ["uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
    },
];

/// The language that a visitor would like best, by `Accept-Language`.
pub(crate) fn language(accepted: &str) -> &'static Text {
    let mut best = (0.0, &LANGUAGES[0]);
    for part in accepted.split(',').take(32) {
        let mut parts = part.split(';');
        let code = parts.next().unwrap_or_default().trim().split('-').next().unwrap_or_default();
        let weight = parts.find_map(|parameter| parameter.trim().strip_prefix("q="));
        let weight: f32 = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        let known = LANGUAGES.iter().find(|text| text.code.eq_ignore_ascii_case(code));
        if let Some(text) = known
            && weight > best.0
        {
            best = (weight, text);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_language() {
        for (accepted, code) in [
            ("", "en"),
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("ja, es;q=0.5, FR;q=0.7", "fr"),
            ("ja,zh;q=0.5", "en"),
            ("de;q=0, en;q=0.1", "en"),
            ("de;q=nan, fr;q=x", "en"),
            (";;;,,q=1", "en"),
        ] {
            assert_eq!(language(accepted).code, code, "{accepted}");
        }
    }
}
