//! What the pages of second factors and of captcha providers say, in each language.

/// The words of one language. `{n}` and `{name}` stand for what is put in.
#[derive(Debug)]
pub(crate) struct Words {
    /// The language's code.
    code: &'static str,
    pub(crate) confirm_title: &'static str,
    pub(crate) code_asked: &'static str,
    pub(crate) code_label: &'static str,
    pub(crate) code_hint: &'static str,
    pub(crate) confirm: &'static str,
    pub(crate) user: &'static str,
    pub(crate) wrong: &'static str,
    pub(crate) wait: &'static str,
    pub(crate) login_asked: &'static str,
    pub(crate) login: &'static str,
    pub(crate) away: &'static str,
    pub(crate) unknown_title: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) loading: &'static str,
    pub(crate) failed: &'static str,
    pub(crate) needs_script: &'static str,
    pub(crate) instead_how: &'static str,
    pub(crate) instead: &'static str,
}

/// The same languages as for the other pages.
static WORDS: [Words; 4] = [
    Words {
        code: "en",
        confirm_title: "Please confirm that it is you",
        code_asked: "This site asks for one more proof before you go on. Enter the code that your authenticator app shows for it.",
        code_label: "Code",
        code_hint: "Six digits, or one of your recovery codes.",
        confirm: "Confirm",
        user: "Signed in as {name}",
        wrong: "This code is not right, or it was used before. Please wait for the next one.",
        wait: "Too many codes were wrong. Please try again in {n} s.",
        login_asked: "This site asks for one more proof before you go on. Sign in at {name} once more; you come back here afterwards.",
        login: "Go to {name}",
        away: "{name} cannot be reached right now. Please try again shortly.",
        unknown_title: "Please sign in first",
        unknown: "This site asks for one more proof, and it is not known yet who you are. Please sign in, then try once more.",
        provider: "This site has {name} find out whether you are a person. Your browser gets what that takes from there.",
        loading: "Loading…",
        failed: "This could not be loaded. Please reload the page.",
        needs_script: "It works with JavaScript only.",
        instead_how: "Then you can answer in another way, without {name}.",
        instead: "Answer in another way",
    },
    Words {
        code: "de",
        confirm_title: "Bitte bestätigen Sie, dass Sie es sind",
        code_asked: "Bevor es weitergeht, möchte diese Website einen weiteren Nachweis. Geben Sie den Code ein, den Ihre Authenticator-App für sie anzeigt.",
        code_label: "Code",
        code_hint: "Sechs Ziffern oder einer Ihrer Wiederherstellungscodes.",
        confirm: "Bestätigen",
        user: "Angemeldet als {name}",
        wrong: "Dieser Code stimmt nicht oder wurde schon verwendet. Bitte warten Sie auf den nächsten.",
        wait: "Zu viele Codes waren falsch. Bitte versuchen Sie es in {n} s wieder.",
        login_asked: "Bevor es weitergeht, möchte diese Website einen weiteren Nachweis. Melden Sie sich bei {name} noch einmal an; danach kommen Sie hierher zurück.",
        login: "Weiter zu {name}",
        away: "{name} ist gerade nicht erreichbar. Bitte versuchen Sie es gleich noch einmal.",
        unknown_title: "Bitte melden Sie sich zuerst an",
        unknown: "Diese Website möchte einen weiteren Nachweis, weiß aber noch nicht, wer Sie sind. Bitte melden Sie sich an und versuchen Sie es dann noch einmal.",
        provider: "Diese Website lässt {name} herausfinden, ob Sie ein Mensch sind. Was dazu nötig ist, lädt Ihr Browser von dort.",
        loading: "Wird geladen …",
        failed: "Das konnte nicht geladen werden. Bitte laden Sie die Seite neu.",
        needs_script: "Das geht nur mit JavaScript.",
        instead_how: "Dann können Sie auf andere Weise antworten, ohne {name}.",
        instead: "Auf andere Weise antworten",
    },
    Words {
        code: "fr",
        confirm_title: "Veuillez confirmer que c’est bien vous",
        code_asked: "Avant de continuer, ce site demande une preuve de plus. Saisissez le code que votre application d’authentification affiche pour lui.",
        code_label: "Code",
        code_hint: "Six chiffres, ou l’un de vos codes de secours.",
        confirm: "Confirmer",
        user: "Connecté en tant que {name}",
        wrong: "Ce code n’est pas bon, ou il a déjà servi. Veuillez attendre le suivant.",
        wait: "Trop de codes étaient faux. Veuillez réessayer dans {n} s.",
        login_asked: "Avant de continuer, ce site demande une preuve de plus. Connectez-vous de nouveau sur {name} ; vous reviendrez ensuite ici.",
        login: "Aller sur {name}",
        away: "{name} est injoignable pour l’instant. Veuillez réessayer sous peu.",
        unknown_title: "Veuillez d’abord vous connecter",
        unknown: "Ce site demande une preuve de plus, mais il ne sait pas encore qui vous êtes. Veuillez vous connecter, puis réessayer.",
        provider: "Ce site demande à {name} si vous êtes une personne. Votre navigateur y charge ce qu’il faut pour cela.",
        loading: "Chargement…",
        failed: "Le chargement a échoué. Veuillez actualiser la page.",
        needs_script: "Cela ne marche qu’avec JavaScript.",
        instead_how: "Vous pouvez alors répondre autrement, sans {name}.",
        instead: "Répondre autrement",
    },
    Words {
        code: "es",
        confirm_title: "Confirme que es usted, por favor",
        code_asked: "Antes de continuar, este sitio pide una prueba más. Escriba el código que muestra su aplicación de autenticación para él.",
        code_label: "Código",
        code_hint: "Seis cifras, o uno de sus códigos de recuperación.",
        confirm: "Confirmar",
        user: "Ha iniciado sesión como {name}",
        wrong: "Este código no es correcto o ya se usó. Espere al siguiente, por favor.",
        wait: "Demasiados códigos eran incorrectos. Vuelva a intentarlo dentro de {n} s.",
        login_asked: "Antes de continuar, este sitio pide una prueba más. Inicie sesión de nuevo en {name}; después volverá aquí.",
        login: "Ir a {name}",
        away: "No se puede acceder a {name} en este momento. Vuelva a intentarlo en breve.",
        unknown_title: "Inicie sesión primero, por favor",
        unknown: "Este sitio pide una prueba más, pero aún no se sabe quién es usted. Inicie sesión y vuelva a intentarlo.",
        provider: "Este sitio pregunta a {name} si usted es una persona. Su navegador carga desde allí lo necesario.",
        loading: "Cargando…",
        failed: "No se pudo cargar. Recargue la página, por favor.",
        needs_script: "Solo funciona con JavaScript.",
        instead_how: "Entonces puede responder de otra manera, sin {name}.",
        instead: "Responder de otra manera",
    },
];

/// The words of a language by its code.
pub(crate) fn words(code: &str) -> &'static Words {
    WORDS.iter().find(|words| words.code == code).unwrap_or(&WORDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::text::LANGUAGES;

    #[test]
    fn every_language_has_them() {
        for text in &LANGUAGES {
            assert_eq!(words(text.code).code, text.code);
        }
        assert_eq!(LANGUAGES.len(), WORDS.len());
    }
}
