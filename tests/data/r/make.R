# R's figures for the tables of this folder: Rscript make.R FOLDER
# Made with R 4.2.2, pROC 1.18.0, rms 6.5-0, MASS 7.3-58.2, brglm2 0.9, jsonlite 1.8.4
# (Debian 12: r-base-core r-cran-proc r-cran-rms r-cran-mass r-cran-brglm2 r-cran-jsonlite).
suppressMessages({library(pROC); library(rms); library(MASS); library(brglm2); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
num <- function(x) unname(as.numeric(x))
table <- function(name) read.csv(file.path(folder, name))
tight <- glm.control(epsilon = 1e-12, maxit = 50)  # by default the standard errors are one step short of converged
keep <- function(x, name) write_json(x, file.path(folder, name), digits = 15, auto_unbox = TRUE, pretty = TRUE)

# 1 AUC: DeLong's variance and interval, paired and unpaired tests, Youden's point
d <- table("roc.csv")
markers <- c("grade", "density", "volume")
curve <- function(name, rows = TRUE) roc(d$y[rows], d[[name]][rows], quiet = TRUE, direction = "<")
aucs <- lapply(setNames(nm = markers), function(name) {
  r <- curve(name); ci <- num(ci.auc(r))
  list(auc = num(auc(r)), low = ci[1], high = ci[3], variance = num(var(r)))
})
pairs <- list(c("grade", "density"), c("grade", "volume"), c("density", "volume"))
tests <- lapply(setNames(pairs, sapply(pairs, paste, collapse = "-")), function(pair) {
  a <- curve(pair[1]); b <- curve(pair[2]); t <- roc.test(a, b, method = "delong", paired = TRUE); ci <- num(t$conf.int)
  list(z = num(t$statistic), p = num(t$p.value), low = ci[1], high = ci[2], covariance = num(cov(a, b)))
})
a <- curve("volume", d$site == "A"); b <- curve("volume", d$site == "B")
# pROC refers this statistic to Student's t; the statistic itself is DeLong's z.
unpaired <- list(z = num(roc.test(a, b, method = "delong", paired = FALSE)$statistic), difference = num(auc(a) - auc(b)))
youden <- as.list(coords(curve("density"), "best", best.method = "youden", transpose = FALSE))
keep(list(auc = aucs, delong = tests, unpaired_volume = unpaired, youden_density = youden), "roc.json")

# 2 forward selection by likelihood ratio (p < 0.05), AIC and BIC, a factor being one candidate
d <- table("selection.csv"); d$location <- factor(d$location)
candidates <- setdiff(names(d), "y")
forward <- function(rule) {
  fit <- glm(y ~ 1, binomial, d, control = tight); path <- list()
  repeat {
    left <- setdiff(candidates, sapply(path, `[[`, "variable"))
    if (!length(left)) break
    fits <- lapply(setNames(nm = left), function(name) update(fit, paste(". ~ . +", name)))
    if (rule == "lr") {
      p <- sapply(fits, function(f) anova(fit, f, test = "Chisq")[2, "Pr(>Chi)"]); best <- which.min(p)
      if (p[best] >= 0.05) break
      step <- list(variable = left[best], p = num(p[best]))
    } else {
      measure <- if (rule == "aic") AIC else BIC; value <- sapply(fits, measure); best <- which.min(value)
      if (value[best] >= measure(fit)) break
      step <- list(variable = left[best], criterion = num(value[best]))
    }
    fit <- fits[[best]]
    path[[length(path) + 1]] <- c(step, log_likelihood = num(logLik(fit)))
  }
  s <- summary(fit)$coefficients
  list(path = path, coefficients = as.list(s[, 1]), standard_errors = as.list(s[, 2]), log_likelihood = num(logLik(fit)),
       aic = AIC(fit), bic = BIC(fit))
}
keep(lapply(setNames(nm = c("lr", "aic", "bic")), forward), "selection.json")

# 3 all candidates: Wald and profile intervals of the odds ratios, likelihood ratio test of each term
full <- glm(y ~ ., binomial, d, control = tight)
profile_ci <- suppressMessages(confint(full)); wald <- confint.default(full); s <- summary(full)$coefficients
effects <- lapply(setNames(nm = rownames(s)[-1]), function(name)
  list(odds_ratio = exp(s[name, 1]), low = exp(wald[name, 1]), high = exp(wald[name, 2]), p = s[name, 4],
       profile_low = exp(profile_ci[name, 1]), profile_high = exp(profile_ci[name, 2])))
dropped <- drop1(full, test = "Chisq")[-1, ]
terms <- lapply(setNames(nm = rownames(dropped)), function(name)
  list(df = dropped[name, "Df"], statistic = dropped[name, "LRT"], p = dropped[name, "Pr(>Chi)"]))
keep(list(effects = effects, terms = terms), "effects.json")

# 4 optimism by rms::validate (its own random numbers: agrees within about 0.01)
options(datadist = "dd"); dd <- datadist(d); set.seed(1)
v <- rms::validate(lrm(y ~ age + gcs + sbp + onset_h + location + anticoagulant + ivh + diabetes, d, x = TRUE, y = TRUE), B = 1000)
keep(lapply(list(dxy = "Dxy", slope = "Slope", intercept = "Intercept", brier = "B"), function(row) as.list(v[row, ])), "validate.json")

# 5 calibration: rms::val.prob, glm with an offset, lowess without robustness
d <- table("calibration.csv"); y <- d$y; p <- d$p
error <- abs(approx(lowess(p, y, iter = 0), xout = p, ties = mean)$y - p)
line <- glm(y ~ qlogis(p), binomial, control = tight)
large <- glm(y ~ offset(qlogis(p)), family = binomial, control = tight)
keep(list(val_prob = as.list(val.prob(p, y, pl = FALSE)), in_the_large = num(coef(large)),
          in_the_large_wald = num(confint.default(large)), slope_wald = num(confint.default(line)[2, ]),
          slope = num(coef(line)[2]), intercept = num(coef(line)[1]), ici = mean(error), e50 = num(median(error)),
          e90 = num(quantile(error, 0.9)), emax = max(error)), "calibration.json")

# 6 counts: exact and Wilson's intervals, exact McNemar test, a likelihood ratio test
exact <- function(x, n) num(binom.test(x, n)$conf.int)
keep(list(sensitivity = exact(17, 21), specificity = exact(55, 86), accuracy = exact(72, 107), zero = exact(0, 21),
          all = exact(21, 21), wilson = num(prop.test(17, 21, correct = FALSE)$conf.int),
          mcnemar_exact_55_71 = binom.test(0, 16)$p.value,
          lr_test = pchisq(2 * (-40.1 - -44.9), 1, lower.tail = FALSE)), "counts.json")

# 7 Firth's logistic regression of separated data
d <- table("separated.csv")
fit <- glm(y ~ x1 + x2, binomial, d, method = brglmFit, type = "AS_mean", epsilon = 1e-10, maxit = 1000)
keep(list(coefficients = as.list(coef(fit)), standard_errors = as.list(summary(fit)$coefficients[, 2])), "separated_firth.json")

# 8 restricted cubic splines with three knots, and a logarithm
d <- table("selection.csv")
fit <- glm(y ~ rcs(age, 3) + rcs(sbp, 3) + log(onset_h) + gcs, binomial, d, control = tight)
s <- summary(fit)$coefficients
knots <- function(x) num(attr(rcs(x, 3), "parms"))
outer <- knots(d$age)[c(1, 3)]
basis <- function(x) cbind(x, rcspline.eval(x, knots = knots(d$age)))
step <- num(basis(outer)[2, ] - basis(outer)[1, ])
keep(list(knots = list(age = knots(d$age), sbp = knots(d$sbp)), coefficients = num(s[, 1]), standard_errors = num(s[, 2]),
          log_likelihood = num(logLik(fit)), age_contrast = sum(step * s[2:3, 1]),
          age_contrast_error = sqrt(num(step %*% vcov(fit)[2:3, 2:3] %*% step))), "splines.json")
